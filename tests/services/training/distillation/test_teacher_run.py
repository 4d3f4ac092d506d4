"""A run over a data set: everybody asked once, gone on with after a crash, within its limits."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from pathlib import Path

import httpx
import pytest

from services.training.distillation.budget import Limits
from services.training.distillation.teacher_data import read_examples
from services.training.distillation.teacher_run import SystemClock
from shared.contracts.document import Document
from tests.support.teacher import (
    FakeTeacher,
    completion,
    completion_body,
    good_answer,
    queries_about,
)
from tests.support.teacher_asking import DOCUMENTS, Asking


class Killed(Exception):
    """Nobody catches it."""


@pytest.fixture
def asking(tmp_path: Path) -> Asking:
    return Asking(tmp_path)


def sorted_titles(documents: Sequence[Document] = DOCUMENTS) -> list[str]:
    return sorted(document.title for document in documents)


def test_every_document_is_asked_once_and_its_queries_are_what_the_student_reads(
    asking: Asking,
) -> None:
    teacher = FakeTeacher()

    outcome = asking.run(teacher)

    assert sorted(teacher.titles) == sorted_titles()
    assert (outcome.asked, outcome.refused, outcome.unanswered) == (30, [], [])
    examples = read_examples(asking.answers, DOCUMENTS)
    assert {example.document.id for example in examples} == {d.id for d in DOCUMENTS}
    assert all(e.queries == queries_about(e.document.title) for e in examples)


def test_an_answer_and_its_cost_are_one_line(asking: Asking) -> None:
    asking.run(FakeTeacher(), limit=1)

    (line,) = asking.answers.read_text().splitlines()

    assert json.loads(line) == {
        "id": "d0",
        "queries": queries_about("thing 0"),
        "model": "big",
        "cost": {
            "call": 1,
            "tokens_in": 100,
            "tokens_out": 20,
            "money": pytest.approx(0.003),
            "is_estimate": False,
        },
    }


def test_no_request_holds_a_held_out_query(asking: Asking) -> None:
    teacher = FakeTeacher()

    asking.run(teacher)

    assert len(teacher.bodies) == 30
    assert "zebrawood" not in json.dumps(teacher.bodies)
    assert "oak things" in json.dumps(teacher.bodies)


@pytest.mark.parametrize("concurrency", [1, 3, 7])
def test_so_many_requests_are_under_way_at_once_and_no_more(
    asking: Asking, concurrency: int
) -> None:
    teacher = FakeTeacher()

    asking.run(teacher, concurrency=concurrency)

    assert teacher.most_at_once == concurrency


def test_a_second_run_asks_nobody_and_spends_nothing(asking: Asking) -> None:
    first = asking.run(FakeTeacher())
    teacher = FakeTeacher()

    second = asking.run(teacher)

    assert teacher.titles == []
    assert second.asked == 0
    assert second.standing.money == pytest.approx(first.standing.money)
    assert second.standing.calls == 30


def test_after_a_crash_anywhere_in_a_write_only_unrecorded_documents_are_asked(
    asking: Asking,
) -> None:
    asking.run(FakeTeacher(), limit=3)
    whole = asking.answers.read_bytes()
    start = whole[:-1].rfind(b"\n") + 1
    last = json.loads(whole[start:])["id"]

    for end in (*range(start, len(whole) - 1, 9), len(whole) - 1):
        asking.answers.write_bytes(whole[:end])
        teacher = FakeTeacher()
        asking.run(teacher, limit=3)
        is_whole = end == len(whole) - 1

        assert teacher.titles == ([] if is_whole else [f"thing {last[1:]}"])
        assert sorted(row.id for row in asking.rows()) == ["d0", "d1", "d2"]


def test_a_run_killed_between_two_answers_goes_on_and_counts_what_was_under_way(
    asking: Asking,
) -> None:
    def _killed(title: str, asked_before: int) -> httpx.Response | Exception:
        if title == "thing 9":
            raise Killed
        return good_answer(title)

    first = FakeTeacher(_killed)
    with pytest.raises(ExceptionGroup):
        asking.run(first)
    kept = [row.id for row in asking.rows()]
    second = FakeTeacher()

    outcome = asking.run(second)

    assert 0 < len(kept) < 30
    assert not {f"thing {key[1:]}" for key in kept} & set(second.titles)
    assert sorted(row.id for row in asking.rows()) == sorted(d.id for d in DOCUMENTS)
    assert outcome.standing.calls == len(first.titles) + len(second.titles)


@pytest.mark.parametrize("most", [0, 1, 5, 13])
def test_calls_never_exceed_their_limit_over_runs_retries_included(
    asking: Asking, most: int
) -> None:
    teacher = FakeTeacher(
        lambda title, asked_before: good_answer(title) if asked_before else httpx.Response(429)
    )

    for _ in range(3):
        outcome = asking.run(teacher, Limits(calls=most), concurrency=6)

        assert outcome.stopped_by == "calls"
        assert len(teacher.titles) == most


class Meter(httpx.AsyncBaseTransport):
    """Charges what an honest endpoint may at most: a token a byte of the texts, the longest answer."""

    def __init__(self) -> None:
        self.tokens = 0
        self.money = 0.0

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        body = json.loads(await request.aread())
        await asyncio.sleep(0)
        read = sum(len(message["content"].encode()) for message in body["messages"])
        self.tokens += read + body["max_tokens"]
        self.money += (read * 10 + body["max_tokens"] * 100) / 1_000_000
        answer = completion_body("oak table\nwood shelf")
        usage = {"prompt_tokens": read, "completion_tokens": body["max_tokens"]}
        return httpx.Response(200, json={**answer, "usage": usage})


@pytest.mark.parametrize("concurrency", [1, 4, 16])
@pytest.mark.parametrize(
    ("limits", "name"),
    [(Limits(tokens=20_000), "tokens"), (Limits(money=0.5), "money")],
)
def test_tokens_and_money_never_exceed_their_limit_and_are_used(
    asking: Asking, limits: Limits, name: str, concurrency: int
) -> None:
    meter = Meter()

    first = asking.run(meter, limits, concurrency=concurrency)
    asked = len(asking.rows())
    second = asking.run(meter, limits, concurrency=concurrency)

    assert first.stopped_by == second.stopped_by == name
    assert 0 < asked == len(asking.rows()) < 30
    assert meter.tokens == second.standing.tokens
    assert meter.money == pytest.approx(second.standing.money)
    if limits.tokens is not None:
        assert 0.7 * limits.tokens < meter.tokens <= limits.tokens
    if limits.money is not None:
        assert 0.7 * limits.money < meter.money <= limits.money


def test_calls_whose_cost_is_unknown_count_at_their_most(asking: Asking) -> None:
    silent = completion_body("oak table\nwood shelf")
    del silent["usage"]
    teacher = FakeTeacher(
        lambda title, asked_before: (
            httpx.Response(200, json=silent) if asked_before else httpx.ReadTimeout("slow")
        )
    )

    outcome = asking.run(teacher, limit=1)

    (row,) = asking.rows()
    assert row.cost is not None
    assert row.cost.is_estimate
    assert row.cost.tokens_out == 512
    prompt_bytes = sum(len(m["content"].encode()) for m in teacher.bodies[0]["messages"])
    assert row.cost.tokens_in > prompt_bytes
    assert outcome.standing.tokens == 2 * (row.cost.tokens_in + row.cost.tokens_out)


def test_where_the_run_stands_is_told_after_every_document_with_the_money_expected_in_all(
    asking: Asking,
) -> None:
    asking.run(FakeTeacher(), limit=10)

    assert [standing.done for standing in asking.told] == list(range(1, 11))
    for standing in asking.told:
        assert standing.total == 10
        assert standing.tokens == 120 * standing.done
        assert standing.money == pytest.approx(0.003 * standing.done)
        assert standing.tokens_in_all == 1200
        assert standing.money_in_all == pytest.approx(0.03)


def test_known_queries_that_the_teacher_repeats_are_not_taken(asking: Asking) -> None:
    asking.run(FakeTeacher(lambda *_: completion("oak things\nwooden ware\nOak  THINGS")), limit=2)

    assert {row.id: row.queries for row in asking.rows()} == {
        "d0": ["oak things", "wooden ware"],
        "d1": ["wooden ware"],
    }


def test_the_real_clock_waits_for_the_time_or_for_the_end_of_the_run() -> None:
    async def _wait(seconds: float, *, is_over: bool) -> float:
        clock, event = SystemClock(), asyncio.Event()
        if is_over:
            event.set()
        started = clock.now()
        await clock.wait(event, seconds)
        return clock.now() - started

    assert asyncio.run(_wait(0.02, is_over=False)) >= 0.015
    assert asyncio.run(_wait(60.0, is_over=True)) < 5
