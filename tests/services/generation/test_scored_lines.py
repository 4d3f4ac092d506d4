import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.generation.requests import Completion
from services.generation.scored_lines import clean_queries, line_scores, read_lines
from shared.completion import Dropped
from shared.contracts.document import Document
from shared.prompt import PromptTokenizer
from tests.support.tiny_models import END_TOKEN, write_tokenizer

OBOE = Document(id="oboe", title="oboe")


@pytest.fixture(scope="module")
def prompts(tmp_path_factory: pytest.TempPathFactory) -> PromptTokenizer:
    return PromptTokenizer(
        write_tokenizer(tmp_path_factory.mktemp("tokenizer")), end_token=END_TOKEN
    )


def _ids(prompts: PromptTokenizer, text: str) -> list[int]:
    return prompts.encode_completion([text])[:-1]


def test_a_line_scores_its_own_tokens_together(prompts: PromptTokenizer) -> None:
    ids = _ids(prompts, "ab\n\ncde")

    scores = line_scores(ids, [-1, -2, -50, -60, -3, -4, -8], prompts.decode)

    assert scores[::2] == [-3.0, -15.0]
    assert math.isnan(scores[1])


def test_a_character_of_several_tokens_scores_them_all(prompts: PromptTokenizer) -> None:
    ids = _ids(prompts, "é\n語")  # 2 and 3 bytes, a token each

    assert len(ids) == 6
    assert line_scores(ids, [-1, -3, -90, -2, -3, -7], prompts.decode) == [-4.0, -12.0]


def test_a_character_that_was_cut_belongs_to_its_line(prompts: PromptTokenizer) -> None:
    ids = _ids(prompts, "a\nb語")[:-1]

    assert line_scores(ids, [-1, -90, -2, -4, -6], prompts.decode) == [-1.0, -12.0]


def test_a_token_that_holds_a_line_end_counts_for_each_line_that_has_text_of_it() -> None:
    pieces = ["red", ".\n", "dou", "ble\nree", "d"]

    def decode(ids: list[int]) -> str:
        return "".join(pieces[each] for each in ids)

    scores = line_scores([0, 1, 2, 3, 4], [-1, -3, -2, -4, -6], decode)

    assert scores == [-4.0, -6.0, -10.0]


@settings(max_examples=60)
@given(text=st.text(st.sampled_from("ab é語🎉\n\r\u2028"), max_size=30))
def test_there_is_a_score_for_each_line_whatever_was_written(
    prompts: PromptTokenizer, text: str
) -> None:
    ids = _ids(prompts, text)

    scores = line_scores(ids, [-1.0] * len(ids), prompts.decode)

    lines = text.splitlines()
    assert [math.isnan(score) for score in scores] == [not line for line in lines]
    assert all(score <= -1.0 for score, line in zip(scores, lines, strict=True) if line)


def test_a_query_has_the_score_of_the_line_it_came_from(prompts: PromptTokenizer) -> None:
    text = "oboe\n1. reed\n\nhttp://x.example\nwind"
    ids = _ids(prompts, text)
    scores = [-float(text[: n + 1].count("\n")) for n in range(len(ids))]

    lines, dropped = read_lines(
        Completion(ids, is_finished=True, log_probabilities=scores),
        OBOE,
        prompts.decode,
        max_queries=16,
    )

    assert [(line.text, line.log_probability) for line in lines] == [
        ("reed", -7.0),
        ("wind", -16.0),
    ]
    assert dropped == {Dropped.TITLE: 1, Dropped.ADDRESS: 1}


def test_without_log_probabilities_lines_have_no_score(prompts: PromptTokenizer) -> None:
    completion = Completion(_ids(prompts, "reed\nwoodw"), is_finished=False)

    lines, dropped = read_lines(completion, OBOE, prompts.decode, max_queries=16)

    assert [line.text for line in lines] == ["reed"]
    assert math.isnan(lines[0].log_probability)
    assert dropped == {Dropped.CUT: 1}


def test_found_queries_that_no_line_may_be_are_left_out() -> None:
    found = {
        "reed": [-0.5],
        "Oboes": [-0.5],
        "double reed": [-0.7],
        "www.example.com": [-0.1],
        "12": [-0.1],
    }

    kept = clean_queries(found, OBOE, known=["reeds double"])

    assert kept == {"reed": [-0.5]}
