from services.training.lexical import Bm25

TEXTS = ["a red wooden chair", "a blue chair chair", "the wooden table", "garlic bread"]


def test_more_and_rarer_common_words_rank_first() -> None:
    ranked = Bm25(TEXTS).search(["wooden chair", "garlic"], 4)

    assert ranked[0, 0] == 0
    assert ranked[1, 0] == 3


def test_a_query_without_a_known_word_has_all_documents_in_order() -> None:
    assert Bm25(TEXTS).search(["xylophone", "the"], 2).tolist() == [[0, 1], [0, 1]]


def test_there_are_no_more_answers_than_documents() -> None:
    assert Bm25(TEXTS).search(["chair"], 100).shape == (1, 4)
