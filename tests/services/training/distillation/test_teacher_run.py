"""A run over a data set: everybody asked once, in bounds, whatever the endpoint does."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Sequence
from pathlib import Path

import httpx
import pytest

from services.training.distillation.budget import Budget, Cost, Limits
from services.training.distillation.journal import Journal
from services.training.distillation.settings import TeacherSettings
from services.training.distillation.teacher import TeacherClient
from services.training.distillation.teacher_data import TeacherAnswer, read_examples
from services.training.distillation.teacher_prompts import Flavour, TeacherPrompts
from services.training.distillation.teacher_run import Outcome, Standing, SystemClock, TeacherRun
from shared.contracts.document import Document
from shared.dataset import Dataset, Query
from shared.errors import SkimError, Unavailable
from tests.support.teacher import (
    KEY,
    FakeClock,
    FakeTeacher,
    completion,
    completion_body,
    good_answer,
    queries_about,
)

DOCUMENTS = [Document(id=f"d{n}", title=f"thing {n}", text="of oak") for n in range(30)]
DATASET = Dataset(
    DOCUMENTS,
    [Query(id="q1", text="oak things"), Query(id="q2", text="zebrawood", split="test")],
    {"q1": {"d1": 1.0}, "q2": {"d1": 5.0, "d2": 5.0}},
    {"q2": {"d1": 1.0}},
)


class Asking:
    """Runs of a teacher over the same files."""

    def __init__(self, folder: Path) -> None:
        self.answers = folder / "answers.jsonl"
        self.calls = folder / "answers.calls.jsonl"
        self.clock = FakeClock()
        self.told: list[Standing] = []

    def run(
        self,
        teacher: httpx.AsyncBaseTransport,
        limits: Limits | None = None,
        limit: int | None = None,
        **values: object,
    ) -> Outcome:
        settings = TeacherSettings.model_validate(
            {"base_url": "http://teacher.test", "api_key": KEY, "model": "big"}
            | {"concurrency": 4, "attempts": 3, "price_in": 10.0, "price_out": 100.0}
            | values
        )
        return asyncio.run(self._run(teacher, settings, limits or Limits(), limit))

    async def _run(
        self,
        teacher: httpx.AsyncBaseTransport,
        settings: TeacherSettings,
        limits: Limits,
        limit: int | None,
    ) -> Outcome:
        with (
            Journal(self.calls, Cost, key=None) as calls,
            Journal(self.answers, TeacherAnswer) as answers,
        ):
            costs = [row.cost for row in answers.rows() if row.cost is not None]
            async with TeacherClient(settings, transport=teacher) as client:
                run = TeacherRun(
                    client,
                    settings,
                    answers,
                    Budget(limits, calls, costs),
                    clock=self.clock,
                    tell=self.told.append,
                )
                return await run.ask(TeacherPrompts(DATASET, Flavour.SEARCH), limit)

    def rows(self) -> list[TeacherAnswer]:
        with Journal(self.answers, TeacherAnswer) as answers:
            return list(answers.rows())


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


@pytest.mark.parametrize(
    "failure",
    [
        lambda: httpx.Response(429),
        lambda: httpx.Response(429, headers={"retry-after": "0"}),
        lambda: httpx.Response(408),
        lambda: httpx.Response(500, text="<html>oops</html>"),
        lambda: httpx.Response(529),
        lambda: httpx.ReadTimeout("slow"),
        lambda: httpx.ConnectError("refused"),
        lambda: httpx.RemoteProtocolError("dropped"),
    ],
)
def test_what_may_pass_is_asked_again_after_growing_waits(
    asking: Asking, failure: Callable[[], httpx.Response | Exception]
) -> None:
    teacher = FakeTeacher(
        lambda title, asked_before: failure() if asked_before < 3 else good_answer(title)
    )

    outcome = asking.run(teacher, limit=1, attempts=4)

    assert outcome.asked == 1
    assert asking.clock.waits == [1.0, 2.0, 4.0]


def test_a_document_that_fails_every_time_is_left_for_the_next_run(asking: Asking) -> None:
    teacher = FakeTeacher(
        lambda title, _: httpx.Response(500) if title == "thing 3" else good_answer(title)
    )

    outcome = asking.run(teacher)
    again = FakeTeacher()
    asking.run(again)

    assert outcome.unanswered == ["d3"]
    assert outcome.asked == 29
    assert teacher.titles.count("thing 3") == 3
    assert again.titles == ["thing 3"]


def test_nobody_asks_while_retry_after_runs(asking: Asking) -> None:
    asked_at: list[tuple[str, float]] = []
    busy_until: list[float] = []

    def _script(title: str, asked_before: int) -> httpx.Response:
        asked_at.append((title, asking.clock.time))
        if title == "thing 5" and not asked_before:
            busy_until.append(asking.clock.time + 90)
            return httpx.Response(429, headers={"retry-after": "90"})
        return good_answer(title)

    outcome = asking.run(FakeTeacher(_script))

    assert outcome.asked == 30
    refused_at = asked_at.index(("thing 5", 0.0))
    under_way = 3  # of four workers, these may have asked before the refusal came
    assert all(time >= busy_until[0] for _, time in asked_at[refused_at + 1 + under_way :])
    assert ("thing 5", 90.0) in asked_at


def test_retry_after_replaces_the_growing_wait(asking: Asking) -> None:
    teacher = FakeTeacher(
        lambda title, asked_before: (
            good_answer(title)
            if asked_before
            else httpx.Response(503, headers={"retry-after": "7"})
        )
    )

    asking.run(teacher, limit=1)

    assert asking.clock.waits == [7.0]


def test_a_pause_too_long_to_wait_for_ends_the_run(asking: Asking) -> None:
    teacher = FakeTeacher(lambda *_: httpx.Response(429, headers={"retry-after": "86400"}))

    with pytest.raises(Unavailable, match="wait 86400 seconds"):
        asking.run(teacher)

    assert len(teacher.titles) <= 4
    assert asking.clock.waits == []


@pytest.mark.parametrize("status", [400, 401, 403, 404])
def test_an_endpoint_that_turns_us_away_is_asked_no_more_but_what_is_under_way_is_kept(
    asking: Asking, status: int
) -> None:
    asked_when_refused: list[int] = []

    def _script(title: str, asked_before: int) -> httpx.Response:
        if title != "thing 6":
            return good_answer(title)
        asked_when_refused.append(len(teacher.titles))
        return httpx.Response(status, text=f"no {KEY}")

    teacher = FakeTeacher(_script)

    with pytest.raises(SkimError, match=f"HTTP {status}") as caught:
        asking.run(teacher)

    assert KEY not in str(caught.value)
    assert [len(teacher.titles)] == asked_when_refused
    assert len(asking.rows()) == len(teacher.titles) - 1
    assert asking.clock.waits == []


@pytest.mark.parametrize(
    "garbage",
    [
        lambda: httpx.Response(200, text="<html>hello</html>"),
        lambda: httpx.Response(200, json={"choices": []}),
        lambda: completion("I'm sorry, but I can't help with that."),
        lambda: completion(None),
        lambda: completion("thing 4"),
    ],
)
def test_an_answer_without_queries_is_recorded_listed_and_not_asked_again(
    asking: Asking, garbage: Callable[[], httpx.Response]
) -> None:
    teacher = FakeTeacher(lambda title, _: garbage() if title == "thing 4" else good_answer(title))

    first = asking.run(teacher)
    again = FakeTeacher()
    second = asking.run(again)

    assert first.refused == second.refused == ["d4"]
    assert again.titles == []
    (row,) = [row for row in asking.rows() if row.refused]
    assert (row.id, row.queries) == ("d4", [])
    assert row.cost is not None
    assert len(read_examples(asking.answers, DOCUMENTS)) == 29


def test_an_endpoint_that_only_gives_garbage_is_not_asked_about_everything(
    asking: Asking,
) -> None:
    teacher = FakeTeacher(lambda *_: httpx.Response(200, text="<html>log in first</html>"))

    with pytest.raises(Unavailable, match=r"10 documents in a row .*log in first"):
        asking.run(teacher)

    assert 10 <= len(teacher.titles) < 10 + 4


def test_many_documents_without_queries_among_good_ones_do_not_end_a_run(asking: Asking) -> None:
    teacher = FakeTeacher(
        lambda title, _: good_answer(title) if int(title[6:]) % 2 else completion(None)
    )

    outcome = asking.run(teacher, concurrency=1)

    assert (len(outcome.refused), outcome.standing.done) == (15, 30)


def test_an_endpoint_that_is_away_is_not_asked_about_everything(asking: Asking) -> None:
    teacher = FakeTeacher(lambda *_: httpx.ConnectError("refused"))

    with pytest.raises(Unavailable, match=r"10 documents in a row .*ConnectError refused"):
        asking.run(teacher)

    assert len(teacher.titles) <= 3 * (10 + 3)


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
