import json
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.events.record import of_line, stamp, to_line
from tests.support.events import event_of

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)


@given(TEXTS, st.integers(1, 1_000), st.floats(0, 1), st.sampled_from(["", "a" * 16]))
def test_an_event_is_read_as_it_was_written(
    query: str, position: int, propensity: float, client: str
) -> None:
    event = event_of(query=query, position=position, propensity=propensity, client=client)

    assert of_line(to_line(event)) == event


def test_a_line_is_one_line_of_json_for_any_other_tool() -> None:
    line = to_line(event_of(query="two\nlines", propensity=0.25))

    fields = json.loads(line)
    assert (fields["query"], fields["propensity"], len(fields["crc"])) == ("two\nlines", 0.25, 8)
    assert line.count(b"\n") == 1


@given(st.data())
def test_no_changed_or_cut_line_is_taken_for_an_event(data: st.DataObject) -> None:
    line = bytearray(to_line(event_of()))
    place = data.draw(st.integers(0, len(line) - 1))
    if data.draw(st.booleans()):
        assert of_line(bytes(line[:place])) is None
        return
    line[place] ^= data.draw(st.integers(1, 255))

    assert of_line(bytes(line)) is None


def test_a_line_of_another_kind_is_no_event() -> None:
    from zlib import crc32

    content = b'{"a":1}'

    assert of_line(b'{"a":1,"crc":"%08x"}\n' % crc32(content)) is None


@pytest.mark.parametrize("zone", [UTC, timezone(timedelta(hours=5, minutes=30))])
def test_stamps_are_utc_and_sort_as_times_do(zone: timezone) -> None:
    moment = datetime(2026, 11, 25, 12, 0, 0, 5_000, UTC)
    later = moment + timedelta(milliseconds=1)

    assert stamp(moment.astimezone(zone)) == "2026-11-25T12:00:00.005Z"
    assert stamp(moment) < stamp(later.astimezone(zone))
