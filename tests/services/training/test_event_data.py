from typing import Any

import pytest

from services.training.event_counts import CLICK, IMPRESSION, Caps, EventCounts
from services.training.event_data import Admission, Extended, extend, log_query_id
from shared.contracts.document import Document
from shared.dataset import Dataset, Query
from shared.events.record import StoredEvent
from tests.support.events import event_of

DOCUMENTS = [Document(id=name, title=name) for name in ("boat", "oar")]
QUERIES = [
    Query(id="q-train", text="Fishing Boat"),
    Query(id="q-valid", text="rowing boats", split="validation"),
    Query(id="q-test", text="wooden paddle", split="test"),
]
BASE = Dataset(DOCUMENTS, QUERIES, clicks={"q-train": {"boat": 2.0}}, truth={})


def asked_by(clients: int, query: str, **change: Any) -> list[StoredEvent]:  # noqa: ANN401
    """Return a click of each client."""
    return [
        event_of(number, query=query, client=f"c{number}", id=f"{query} {number}", **change)
        for number in range(clients)
    ]


def extended(
    *events: StoredEvent, admission: Admission | None = None, held_out: tuple[str, ...] = ()
) -> Extended:
    counts = EventCounts(Caps())
    for day in sorted({event.day for event in events}):
        counts.add_day([event for event in events if event.day == day])
    return extend(BASE, counts, held_out=held_out, admission=admission)


def test_clicks_on_a_known_query_are_added_however_it_was_typed() -> None:
    found = extended(*asked_by(1, " fishing  BOAT"), *asked_by(1, "fishing boat", ad="oar"))

    assert found.dataset.clicks == {"q-train": {"boat": 3.0, "oar": 1.0}}
    assert found.new == []
    assert BASE.clicks == {"q-train": {"boat": 2.0}}


def test_a_query_that_enough_clients_asked_becomes_a_train_query() -> None:
    found = extended(*asked_by(3, "Sea Kayak"), *asked_by(2, "canoe"))

    (new,) = found.new
    assert (new.text, new.split, new.id) == ("sea kayak", "train", log_query_id("sea kayak"))
    assert found.dataset.queries[-1] == new
    assert found.dataset.clicks[new.id] == {"boat": 3.0}
    assert found.left_out == {"rare": 1}


def test_a_query_that_was_asked_on_enough_days_becomes_a_train_query() -> None:
    days = [
        event_of(day, query="canoe", client="", time=f"2026-11-{day}T12:00:00.000Z")
        for day in (23, 24, 25)
    ]

    assert [query.text for query in extended(*days).new] == ["canoe"]
    assert extended(*days[:2]).new == []


def test_one_client_proves_nothing_however_often_it_asks() -> None:
    events = [event_of(number, query="buy my boats", client="ann") for number in range(500)]

    assert extended(*events).left_out == {"rare": 1}


@pytest.mark.parametrize(
    "text",
    [
        "mail me at ann@example.org",
        "call 0171 1234567",
        "www.example.org/boats",
        "<b>boat</b>",
        "boat " * 20,
        "x" * 300,
        "?!",
    ],
)
def test_what_is_no_plain_query_becomes_none_whoever_asks(text: str) -> None:
    found = extended(*asked_by(5, text))

    assert found.new == []
    assert found.left_out == {"not_plain": 1}


@pytest.mark.parametrize("text", ["paddle, wooden", "Wooden paddles", "boat rowing"])
def test_a_near_duplicate_of_a_held_out_query_becomes_no_train_query(text: str) -> None:
    found = extended(*asked_by(5, text))

    assert found.new == []
    assert found.left_out == {"held_out": 1}


def test_a_query_that_another_split_holds_out_holds_its_near_duplicates_out_too() -> None:
    events = asked_by(5, "boat for fishing boats"), asked_by(5, "boats fishing")

    assert [query.text for query in extended(*events[0], *events[1]).new] == [
        "boat for fishing boats",
        "boats fishing",
    ]
    found = extended(*events[0], *events[1], held_out=("q-train",))
    assert [query.text for query in found.new] == ["boat for fishing boats"]


def test_what_users_did_for_a_held_out_query_stays_with_it() -> None:
    found = extended(*asked_by(5, "Wooden Paddle", ad="oar"))

    assert found.dataset.clicks["q-test"] == {"oar": 5.0}
    assert [query.id for query in found.dataset.queries_of("train")] == ["q-train"]


def test_exploration_of_validation_queries_reaches_the_exploration_log() -> None:
    shown = event_of(0, query="rowing boats", kind=IMPRESSION, propensity=0.5, request="r")
    clicked = event_of(1, query="rowing boats", kind=CLICK, propensity=0.5, request="r")

    found = extended(shown, clicked).dataset

    assert found.exploration == {"q-valid": {"boat": 1.0}}
    assert found.impressions == {"q-valid": {"boat": 1.0}}


def test_documents_that_are_not_in_the_folder_are_left_out_and_counted() -> None:
    found = extended(*asked_by(3, "canoe", ad="gone"))

    assert found.dataset.clicks == BASE.clicks
    assert found.unknown_documents == 1


def test_no_more_new_queries_than_wanted_are_taken_the_most_frequent_first() -> None:
    found = extended(*asked_by(3, "canoe"), *asked_by(5, "kayak"), admission=Admission(most=1))

    assert [query.text for query in found.new] == ["kayak"]
    assert found.left_out == {"surplus": 1}


def test_a_share_of_new_queries_may_be_validation_and_stays_so() -> None:
    events = [event for number in range(200) for event in asked_by(3, f"canoe nr{number:03}")]
    admission = Admission(validation_share=0.3)

    found = extended(*events, admission=admission)

    held = {query.id for query in found.new if query.split == "validation"}
    assert 30 < len(held) < 90
    again = extended(*events[:300], admission=admission)
    assert {query.id for query in again.new if query.split == "validation"} == held & {
        query.id for query in again.new
    }


def test_near_duplicates_share_a_split_and_those_of_train_queries_are_train_queries() -> None:
    admission = Admission(validation_share=0.999999)
    found = extended(
        *asked_by(3, "red canoe"),
        *asked_by(3, "canoes, red"),
        *asked_by(3, "boat fishing"),
        admission=admission,
    )

    assert {query.text: query.split for query in found.new} == {
        "boat fishing": "train",
        "canoes, red": "validation",
        "red canoe": "validation",
    }


def test_the_log_changes_nothing_if_it_is_empty() -> None:
    assert extended().dataset == BASE
