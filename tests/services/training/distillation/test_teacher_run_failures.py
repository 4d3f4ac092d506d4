"""A run over a data set whose endpoint fails: what is asked again, what ends the run, what is kept."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from services.training.distillation.teacher_data import read_examples
from shared.errors import SkimError, Unavailable
from tests.support.teacher import (
    KEY,
    FakeTeacher,
    completion,
    good_answer,
)
from tests.support.teacher_asking import DOCUMENTS, Asking


@pytest.fixture
def asking(tmp_path: Path) -> Asking:
    return Asking(tmp_path)


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
