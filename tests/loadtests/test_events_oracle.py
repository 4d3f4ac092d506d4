import random
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from loadtests.events_oracle import EventsOracle
from shared.events.files import file_name
from shared.events.record import StoredEvent, to_line

ANSWER = {
    "query": "red bicycle",
    "generation": "a",
    "request": "r1",
    "ads": [{"id": "ad-1"}, {"id": "ad-2", "slot": "sealed"}],
}
Sent = Sequence[Mapping[str, Any]]


@pytest.fixture
def oracle() -> EventsOracle:
    return EventsOracle()


@pytest.fixture
def sent(oracle: EventsOracle) -> Sent:
    events = oracle.events_of(ANSWER, random.Random(0))
    oracle.note({"verdicts": [{"id": each["id"], "status": "accepted"} for each in events]})
    return events


def test_the_events_of_an_answer_are_its_ads_and_a_click_on_one(sent: Sent) -> None:
    assert [(each["kind"], each["ad"], each["position"]) for each in sent[:2]] == [
        ("impression", "ad-1", 1),
        ("impression", "ad-2", 2),
    ]
    assert [each["kind"] for each in sent[2:]] == ["click"]
    assert "slot" not in sent[0]
    assert sent[1]["slot"] == "sealed"


def test_files_that_hold_what_was_sent_are_faultless(
    oracle: EventsOracle, sent: Sent, tmp_path: Path
) -> None:
    write(tmp_path, [stored(each) for each in sent] + [stored(sent[0])])

    assert list(oracle.faults(tmp_path)) == []


def test_an_event_that_is_lost_is_told(oracle: EventsOracle, sent: Sent, tmp_path: Path) -> None:
    write(tmp_path, [stored(each) for each in sent[:-1]])

    assert list(oracle.faults(tmp_path)) == [f"event {sent[-1]['id']} was accepted and is lost"]


@pytest.mark.parametrize("change", [{"position": 9}, {"query": "bicycle"}, {"propensity": 0.5}])
def test_an_event_that_is_not_as_it_was_sent_is_told(
    oracle: EventsOracle, sent: Sent, tmp_path: Path, change: dict[str, Any]
) -> None:
    write(tmp_path, [stored(sent[0])._replace(**change), *map(stored, sent[1:])])

    [fault] = oracle.faults(tmp_path)

    assert fault.startswith(f"event {sent[0]['id']} is ")


def test_an_event_that_nobody_accepted_is_told(
    oracle: EventsOracle, sent: Sent, tmp_path: Path
) -> None:
    write(tmp_path, [*map(stored, sent), stored(sent[0])._replace(id="of nobody")])

    assert list(oracle.faults(tmp_path)) == ["event of nobody is kept and was not accepted"]


def test_a_damaged_line_is_told(oracle: EventsOracle, sent: Sent, tmp_path: Path) -> None:
    lines = [to_line(stored(each)) for each in sent]
    path = tmp_path / file_name(sent[0]["time"][:10], "0" * 12, 0)
    path.write_bytes(b"".join(lines) + lines[0].replace(b"bicycle", b"bicycel"))

    assert list(oracle.faults(tmp_path)) == [f"{sent[0]['time'][:10]}: 1 damaged lines"]


def test_what_was_rejected_is_told(oracle: EventsOracle, sent: Sent) -> None:
    told = {"verdicts": [{"id": sent[0]["id"], "status": "rejected", "reason": "too old"}]}

    assert oracle.rejected(told) == [f"event {sent[0]['id']} was rejected: too old"]


def stored(event: Mapping[str, Any]) -> StoredEvent:
    fields = {name: value for name, value in event.items() if name != "slot"}
    return StoredEvent(**fields, propensity=0.1 if "slot" in event else 0.0)


def write(folder: Path, events: Sequence[StoredEvent]) -> None:
    path = folder / file_name(events[0].day, "0" * 12, 0)
    path.write_bytes(b"".join(map(to_line, events)))
