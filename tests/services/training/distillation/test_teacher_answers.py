"""Whatever shape an answer has, its queries come out, and nothing else does."""

import json

import pytest

from services.training.distillation.teacher_answers import parse_answer
from shared.contracts.document import Document

BED = Document(id="d1", title="oak bed")
QUERIES = ["solid wood furniture", "double bed frame", "bed for small rooms"]
LINES = "\n".join(QUERIES)


@pytest.mark.parametrize(
    "text",
    [
        LINES,
        "\n\n".join(QUERIES),
        "1. solid wood furniture\n2) double bed frame\n(3) bed for small rooms",
        "- solid wood furniture\n* double bed frame\n\u2022 bed for small rooms",
        f"Sure! Here are the queries:\n\n{LINES}\n\nI hope this helps.",
        "What people type\n1. solid wood furniture\n2. double bed frame\n3. bed for small rooms\nMore",
        "1. **solid wood furniture**\n2. **double bed frame**\n3. **bed for small rooms**",
        f"```\n{LINES}\n```",
        json.dumps(QUERIES),
        json.dumps(QUERIES, indent=2),
        f"```json\n{json.dumps({'queries': QUERIES})}\n```",
        f"Here you are: {json.dumps([{'query': query} for query in QUERIES])} Good luck.",
        f"<think>\nWhat would people type\nbeds of oak\n</think>\n{LINES}",
        f"{LINES}\nOak  Bed\nDOUBLE BED FRAME\nsee https://example.com",
    ],
)
def test_the_queries_of_an_answer_come_out(text: str) -> None:
    assert parse_answer(text, BED) == QUERIES


@pytest.mark.parametrize(
    "text",
    [
        "",
        "   \n\t\n",
        "I'm sorry, but I can't help with that.",
        "I cannot write queries for this document",
        "<!DOCTYPE html>\n<html><body>\nBad gateway\nnginx\n</body></html>",
        "[]",
        "{}",
        '{"error": 5}',
        "<think>\nfirst thought\nsecond thought",
        "oak bed",
        "[" * 5_000 + '"',
        '[["' * 5_000,
    ],
)
def test_an_answer_without_queries_gives_none(text: str) -> None:
    assert parse_answer(text, BED) == []


@pytest.mark.parametrize(
    "text",
    [
        "solid wood furniture\ndouble bed frame\nbed for sm",
        "1. solid wood furniture\n2. double bed frame\n3. bed for sm",
        '["solid wood furniture", "double bed frame", "bed for sm',
    ],
)
def test_the_cut_end_of_an_answer_is_dropped(text: str) -> None:
    assert parse_answer(text, BED, is_finished=False) == QUERIES[:2]


def test_known_queries_are_not_taken_again() -> None:
    assert parse_answer(LINES, BED, ["Double  Bed frame"]) == [QUERIES[0], QUERIES[2]]
