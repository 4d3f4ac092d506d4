from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import orjson
import pytest

from services.inference.event_intake import EventIntake, IntakeLimits
from services.inference.exploration import Slots
from shared.errors import InvalidInput
from shared.events.privacy import Keyed, make_key
from shared.events.record import StoredEvent

NOW = datetime(2026, 11, 25, 12, 0, tzinfo=UTC)
SENT: dict[str, Any] = {
    "id": "e1",
    "kind": "click",
    "time": "2026-11-25T11:59:58.5Z",
    "query": " fishing boat ",
    "ad": "boat",
    "position": 2,
    "generation": "v1",
    "request": "r1",
    "client": "ann",
}


@pytest.fixture
def keyed(tmp_path: Path) -> Keyed:
    return make_key(tmp_path)


@pytest.fixture
def intake(keyed: Keyed) -> EventIntake:
    return EventIntake(keyed, IntakeLimits(events=10), now=lambda: NOW)


def test_an_event_is_kept_with_its_client_hashed(intake: EventIntake, keyed: Keyed) -> None:
    read = intake.read(orjson.dumps([SENT]), is_ndjson=False)

    assert read.events == [
        StoredEvent(
            time="2026-11-25T11:59:58.500Z",
            kind="click",
            id="e1",
            query="fishing boat",
            ad="boat",
            position=2,
            generation="v1",
            request="r1",
            client=keyed.hash("client", "ann"),
        )
    ]
    assert "ann" not in repr(read.events)


def test_a_list_and_lines_are_read_alike(intake: EventIntake) -> None:
    events = [SENT, SENT | {"id": "e2"}]
    lines = b"\n".join(orjson.dumps(event) for event in events) + b"\n\n"

    assert intake.read(lines, is_ndjson=True) == intake.read(orjson.dumps(events), is_ndjson=False)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"kind": "purchase"}, "kind: "),
        ({"position": 0}, "position: "),
        ({"position": 1_001}, "position: "),
        ({"query": " "}, "query: "),
        ({"query": "x" * 1_001}, "query: "),
        ({"ad": "no id!"}, "ad: "),
        ({"id": ""}, "id: "),
        ({"time": "2026-11-25T11:59:58"}, "time: "),
        ({"time": "2026-11-18T11:59:59Z"}, "time: 2026-11-18T11:59:59.000Z is not within 7 days"),
        ({"time": "2026-11-25T12:05:01Z"}, "time: 2026-11-25T12:05:01.000Z is not within"),
        ({"client": "x" * 201}, "client: "),
        ({"slot": "0.5.0123456789abcdef"}, "slot: not of this request"),
        ({"slot": "nonsense"}, "slot: not of this request"),
        ({"revenue": 1}, "revenue: "),
    ],
)
def test_an_event_that_is_wrong_costs_no_other(
    intake: EventIntake, change: dict[str, Any], reason: str
) -> None:
    sent = [SENT | {"id": "e0"}, SENT | change, SENT | {"id": "e2"}]

    read = intake.read(orjson.dumps(sent), is_ndjson=False)

    assert [event.id for event in read.events] == ["e0", "e2"]
    assert [verdict.status for verdict in read.verdicts] == ["accepted", "rejected", "accepted"]
    assert str(read.verdicts[1].reason).startswith(reason)


def test_a_line_that_is_no_json_costs_no_other(intake: EventIntake) -> None:
    read = intake.read(orjson.dumps(SENT) + b'\n{"id": "e2", "ki\n[1]\n', is_ndjson=True)

    assert [verdict.status for verdict in read.verdicts] == ["accepted", "rejected", "rejected"]
    assert "not JSON" in str(read.verdicts[1].reason)


def test_the_same_id_again_in_a_request_is_a_duplicate(intake: EventIntake) -> None:
    read = intake.read(orjson.dumps([SENT, SENT]), is_ndjson=False)

    assert [verdict.status for verdict in read.verdicts] == ["accepted", "duplicate"]
    assert len(read.events) == 1


@pytest.mark.parametrize("body", [b"", b"{", b'{"id": "e1"}', b"[]", b"null", b"\xff"])
def test_a_body_that_is_no_list_of_events_is_refused(intake: EventIntake, body: bytes) -> None:
    with pytest.raises(InvalidInput):
        intake.read(body, is_ndjson=False)


@pytest.mark.parametrize("is_ndjson", [True, False])
def test_more_events_than_may_come_at_once_are_refused(
    intake: EventIntake, *, is_ndjson: bool
) -> None:
    body = b"1\n" * 4_000_000 if is_ndjson else orjson.dumps([SENT] * 11)

    with pytest.raises(InvalidInput, match="more than 10 events, expected 1 to 10"):
        intake.read(body, is_ndjson=is_ndjson)


@pytest.mark.parametrize("is_ndjson", [True, False])
def test_a_clock_may_be_a_little_ahead_and_an_event_a_few_days_old(
    intake: EventIntake, *, is_ndjson: bool
) -> None:
    times = [NOW + timedelta(minutes=5), NOW - timedelta(days=7)]
    sent = [SENT | {"id": f"e{place}", "time": time} for place, time in enumerate(times)]
    body = b"\n".join(map(orjson.dumps, sent)) if is_ndjson else orjson.dumps(sent)

    assert len(intake.read(body, is_ndjson=is_ndjson).events) == 2


def test_a_slot_brings_its_propensity_and_only_to_its_own_ad(
    intake: EventIntake, keyed: Keyed
) -> None:
    slot = Slots(keyed).seal("r1", "fishing boat", "boat", 2, 1 / 7)
    changes: list[dict[str, Any]] = [
        {},
        {"ad": "oar"},
        {"request": "r2"},
        {"query": "boat"},
        {"position": 3},
        {"slot": slot.replace("0.14", "0.01")},
    ]
    sent = [
        SENT | {"id": f"e{place}", "slot": slot} | change for place, change in enumerate(changes)
    ]

    read = intake.read(orjson.dumps(sent), is_ndjson=False)

    assert [event.propensity for event in read.events] == [1 / 7]
    assert [verdict.status for verdict in read.verdicts] == ["accepted", *["rejected"] * 5]
