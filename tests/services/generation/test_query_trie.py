import numpy as np

from services.generation.query_trie import MAX_TOKENS, Node, QueryTrie


def _letters(texts: list[str]) -> list[list[int]]:
    return [[ord(letter) for letter in text] for text in texts]


def _trie(*texts: str) -> QueryTrie:
    return QueryTrie(texts, lambda all_texts: _letters(list(all_texts)))


def _go(trie: QueryTrie, letters: str) -> Node | None:
    node = trie.root
    for letter in letters:
        below = trie.children(node, np.array([ord(letter)]))
        if not below:
            return None
        ((_, node),) = below
    return node


def test_every_query_is_found_at_the_end_of_its_path_and_nothing_else_is() -> None:
    trie = _trie("reed", "red", "re", "oboe")

    ends = {text: _go(trie, text) for text in ("reed", "red", "re", "oboe", "r", "ree", "obo")}

    assert {text for text, node in ends.items() if node and trie.text_at(node)} == {
        *("reed", "red", "re", "oboe")
    }
    assert all(trie.text_at(node) in (text, None) for text, node in ends.items() if node)


def test_only_tokens_that_a_query_goes_on_with_are_followed() -> None:
    trie = _trie("reed", "red", "oboe")
    node = _go(trie, "re")
    assert node is not None

    followed = trie.children(node, np.array([ord(letter) for letter in "zeda"]))

    assert [place for place, _ in followed] == [1, 2]
    assert _go(trie, "x") is None
    assert _go(trie, "reedy") is None


def test_the_same_query_twice_is_one_and_one_too_long_is_left_out() -> None:
    trie = _trie("reed", "reed", "r" * MAX_TOKENS, "r" * (MAX_TOKENS + 1), "")

    assert len(trie) == 2
    assert trie.left_out == 2
    longest = _go(trie, "r" * MAX_TOKENS)
    assert longest is not None
    assert trie.text_at(longest) == "r" * MAX_TOKENS


def test_without_queries_there_is_nothing_to_follow() -> None:
    trie = _trie()

    assert trie.children(trie.root, np.array([5])) == []
