from typing import Any

import pytest

from services.dashboard.answers import ReadCounts
from services.dashboard.flow import flow_of
from services.dashboard.overview import Overview, ServiceState, State
from services.dashboard.shown import NOTHING
from services.dashboard.traffic import WORK, Traffic
from services.dashboard.troubles import troubles_of

COUNTS = ReadCounts(labels=5, accepted=4, waiting=2, done=2, failed=0, dead_letters=0)
CALM = Traffic(requests_per_second=2, p50_ms=4.5, p99_ms=8.9, errors=0)


def overview_of(**changes: Any) -> Overview:  # noqa: ANN401  (any field)
    fields: dict[str, Any] = {
        "services": {name: ServiceState(state=State.READY) for name in WORK},
        "counts": COUNTS,
        "documents_per_minute": 1.0,
        "queue_age_seconds": 60.0,
        "jobs": [],
        "bundle": None,
        "traffic": dict.fromkeys(WORK, CALM),
    }
    return Overview(**(fields | changes))


def lines_of(overview: Overview) -> list[str]:
    return [each.what for each in troubles_of(overview, queue_age_seconds=900)]


def test_a_suite_at_work_needs_nobody() -> None:
    assert lines_of(overview_of()) == []


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        (
            {
                "services": {
                    **{name: ServiceState(state=State.READY) for name in WORK},
                    "mapping": ServiceState(state=State.DOWN, reason="no answer"),
                }
            },
            "mapping is down: no answer; `skim logs mapping` says why",
        ),
        (
            {"traffic": {"inference": CALM.model_copy(update={"errors": 3})}},
            "inference answered 3 requests with an error",
        ),
        (
            {"counts": COUNTS.model_copy(update={"dead_letters": 7})},
            "7 documents were given up",
        ),
        (
            {"counts": COUNTS.model_copy(update={"dead_letters": None, "failed": 2})},
            "2 documents failed",
        ),
        ({"queue_age_seconds": 3_700.0}, "documents have waited for 1 h"),
    ],
)
def test_what_does_not_mend_itself_is_said(changes: dict[str, Any], line: str) -> None:
    assert lines_of(overview_of(**changes)) == [line]


def test_the_worst_comes_first_and_only_its_part_is_marked() -> None:
    overview = overview_of(
        queue_age_seconds=3_700.0,
        traffic={"inference": CALM.model_copy(update={"errors": 3})},
    )
    troubles = troubles_of(overview, queue_age_seconds=900)
    marks = {part.name: part.mark for row in flow_of(overview, troubles) for part in row}

    assert [each.is_bad for each in troubles] == [True, False]
    assert {name: mark for name, mark in marks.items() if mark} == {
        "augmentation": "wait",
        "inference": "bad",
    }


def test_nothing_is_said_of_the_bundle_of_a_service_that_is_down() -> None:
    def served(state: State) -> str:
        services = {name: ServiceState(state=state) for name in WORK}
        _, answers = flow_of(overview_of(services=services), [])
        return next(each for each in answers if each.name == "bundle").figures[0].value

    assert served(State.WAITING) == "none"
    assert served(State.DOWN) == NOTHING
