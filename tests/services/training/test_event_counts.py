from collections import Counter
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.training.event_counts import CLICK, IMPRESSION, Caps, EventCounts
from shared.events.files import PACKED, days_of, read_day
from shared.events.record import StoredEvent
from tests.support.events import event_of, write_events

NO_CAPS = Caps(10**9, 10**9, 10**9, 10**9)
EVENTS = st.lists(
    st.builds(
        lambda number, day, kind, query, ad, client, propensity: event_of(
            number,
            time=f"2026-11-{day}T12:00:00.000Z",
            kind=kind,
            query=query,
            ad=ad,
            client=client,
            propensity=propensity,
        ),
        st.integers(0, 10**9),
        st.sampled_from([23, 24, 25]),
        st.sampled_from([CLICK, IMPRESSION]),
        st.sampled_from(["boat", "Boat", " boat ", "red  wine"]),
        st.sampled_from(["a", "b"]),
        st.sampled_from(["", "ann", "bob"]),
        st.sampled_from([0.0, 0.25, 0.5]),
    ),
    max_size=30,
    unique_by=lambda event: event.id,
)


def counted(*events: StoredEvent, caps: Caps = NO_CAPS) -> EventCounts:
    counts = EventCounts(caps)
    for day in sorted({event.day for event in events}):
        counts.add_day([event for event in events if event.day == day])
    return counts


def counted_from(folder: Path, caps: Caps) -> EventCounts:
    counts = EventCounts(caps)
    for day in days_of(folder):
        counts.add_day(read_day(folder, day).events)
    return counts


@given(EVENTS, st.data())
def test_counts_equal_the_events_whatever_the_files_and_the_duplicates(
    tmp_path_factory: pytest.TempPathFactory, events: list[StoredEvent], data: st.DataObject
) -> None:
    folder = tmp_path_factory.mktemp("events")
    again = data.draw(st.lists(st.sampled_from(events), max_size=20)) if events else []
    lines = data.draw(st.permutations([*events, *again]))
    files = [data.draw(st.integers(0, 3)) for _ in lines]
    for number in range(4):
        part = [line for line, file in zip(lines, files, strict=True) if file == number]
        write_events(folder, part, number=number)

    counts = counted_from(folder, NO_CAPS)

    def _truth(kind: str) -> Counter[tuple[str, str]]:
        return Counter(
            (" ".join(event.query.lower().split()), event.ad)
            for event in events
            if event.kind == kind
        )

    assert counts.clicks == _truth(CLICK)
    assert counts.impressions == _truth(IMPRESSION)
    assert counts.events == len(events)
    assert (counts.of_bots, counts.capped) == (0, 0)


@given(EVENTS, st.randoms(use_true_random=False))
def test_with_caps_too_the_order_of_events_changes_nothing(
    events: list[StoredEvent], shuffled: object
) -> None:
    caps = Caps(pair_per_client=1, client_events=5, client_clicks=3, query_events=4)
    other = list(events)
    shuffled.shuffle(other)  # type: ignore[attr-defined]

    one, two = counted(*events, caps=caps), counted(*other, caps=caps)

    assert one == two
    assert one.drawn() == two.drawn()


@given(EVENTS)
def test_a_cap_only_takes_away(events: list[StoredEvent]) -> None:
    caps = Caps(pair_per_client=1, client_events=5, client_clicks=3, query_events=4)
    free, capped = counted(*events), counted(*events, caps=caps)

    assert all(capped.clicks[pair] <= free.clicks[pair] for pair in capped.clicks)
    counts = capped.clicks.total() + capped.impressions.total()
    assert counts + capped.capped + capped.of_bots == len(events)


def test_one_client_cannot_click_a_document_up() -> None:
    events = [event_of(number, client="ann") for number in range(50)]
    events += [event_of(100 + number, client="bob") for number in range(2)]

    counts = counted(*events, caps=Caps(pair_per_client=3))

    assert counts.pairs(CLICK) == {"fishing boat": {"boat": 5.0}}
    assert counts.capped == 47


@pytest.mark.parametrize("caps", [Caps(client_events=10), Caps(client_clicks=10)])
def test_a_client_past_the_cap_of_a_day_is_a_bot_on_that_day_only(caps: Caps) -> None:
    events = [event_of(number, client="bot", ad=f"d{number}") for number in range(11)]
    other_day = event_of(20, client="bot", ad="d0", time="2026-11-26T12:00:00.000Z")

    counts = counted(*events, other_day, event_of(30, ad="d0"), caps=caps)

    assert counts.pairs(CLICK) == {"fishing boat": {"d0": 2.0}}
    assert counts.of_bots == 11
    assert counts.traffic["fishing boat"].clients == {"bot", "c30"}


def test_a_client_that_looks_at_much_and_clicks_little_is_a_person() -> None:
    seen = [event_of(each, client="ann", kind=IMPRESSION, ad=f"d{each}") for each in range(50)]

    counts = counted(*seen, event_of(99, client="ann"), caps=Caps(client_clicks=10))

    assert counts.of_bots == 0
    assert len(counts.impressions) == 50


def test_events_without_a_client_are_capped_by_their_request() -> None:
    events = [event_of(number, client="", request="r") for number in range(10)]

    counts = counted(*events, caps=Caps(pair_per_client=3))

    assert counts.pairs(CLICK) == {"fishing boat": {"boat": 3.0}}
    assert counts.traffic["fishing boat"].clients == set()


def test_events_without_a_client_count_for_nothing_where_one_is_needed() -> None:
    events = [event_of(0), event_of(1, client=""), event_of(2, client="", propensity=0.5)]

    counts = counted(*events, caps=Caps(needs_client=True))

    assert counts.pairs(CLICK) == {"fishing boat": {"boat": 1.0}}
    assert (counts.events, counts.anonymous, counts.drawn()) == (3, 2, {})


def test_a_query_past_its_cap_is_scaled_down_and_keeps_every_pair() -> None:
    events = [event_of(number, kind=IMPRESSION) for number in range(90)]
    events += [event_of(100 + number) for number in range(9)] + [event_of(200, ad="oar")]

    counts = counted(*events, caps=Caps(query_events=50))

    assert counts.pairs(IMPRESSION) == {"fishing boat": {"boat": 45.0}}
    assert counts.pairs(CLICK) == {"fishing boat": {"boat": 5.0, "oar": 1.0}}


def test_a_drawn_place_counts_once_however_often_it_is_told() -> None:
    events = [
        event_of(number, client=f"c{number}", request="r", propensity=0.5, kind=kind)
        for number, kind in enumerate([CLICK, CLICK, IMPRESSION, IMPRESSION, CLICK])
    ]

    counts = counted(*events)

    assert counts.drawn() == {"fishing boat": {"boat": 1.0}}
    assert counts.drawn_places == {0.5: 1}
    assert counts.pairs(CLICK) == {"fishing boat": {"boat": 3.0}}


def test_drawn_clicks_are_weighed_by_the_inverse_propensity() -> None:
    places = [("a", 1 / 4), ("a", 1 / 4), ("b", 1 / 4), ("b", 1 / 12)]
    events = [
        event_of(
            10 * number + (kind == CLICK), kind=kind, ad=ad, propensity=p, request=f"{number}"
        )
        for number, (ad, p) in enumerate(places)
        for kind in (IMPRESSION, CLICK)
    ]

    drawn = counted(*events).drawn()["fishing boat"]

    mean = Fraction(4 + 4 + 4 + 12, 4)
    assert drawn == {"a": pytest.approx(8 / mean), "b": pytest.approx(16 / mean)}


def test_with_one_propensity_drawn_clicks_are_counted() -> None:
    events = [
        event_of(10 * number + (kind == CLICK), kind=kind, propensity=1 / 7, request=f"{number}")
        for number in range(3)
        for kind in (IMPRESSION, CLICK)
    ]

    assert counted(*events).drawn() == {"fishing boat": {"boat": pytest.approx(3.0)}}


def test_weighed_drawn_clicks_estimate_the_true_shares_though_the_catalogue_grew() -> None:
    """A place's ad is drawn from 4 ads first and from 8 later; d0 to d3 are in both."""
    chance = {f"d{number}": 0.1 + 0.1 * number for number in range(8)}
    random = np.random.default_rng(0)
    events = []
    for number in range(60_000):
        size = 4 if number < 30_000 else 8
        ad = f"d{random.integers(size)}"
        kinds = [IMPRESSION, *([CLICK] if random.random() < chance[ad] else [])]
        events += [
            event_of(
                2 * number + place, kind=kind, ad=ad, propensity=1 / size, request=f"{number}"
            )
            for place, kind in enumerate(kinds)
        ]

    drawn = counted(*events).drawn()["fishing boat"]

    old = [drawn[f"d{number}"] for number in range(4)]
    expected = [chance[f"d{number}"] for number in range(4)]
    assert np.array(old) / sum(old) == pytest.approx(np.array(expected) / sum(expected), abs=0.02)
    both = drawn["d7"] / drawn["d3"]
    assert both == pytest.approx(0.8 / 0.4 / 2, rel=0.05)  # half the time d7 could not be drawn


def test_packed_and_plain_files_count_alike(tmp_path: Path) -> None:
    import gzip

    write_events(tmp_path, [event_of(0)])
    path = next(tmp_path.iterdir())
    path.with_name(path.name + PACKED).write_bytes(gzip.compress(path.read_bytes()))

    assert counted_from(tmp_path, NO_CAPS).pairs(CLICK) == {"fishing boat": {"boat": 1.0}}
