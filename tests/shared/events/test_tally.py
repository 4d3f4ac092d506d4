import gzip
from pathlib import Path

import pytest

from shared.events.files import OPEN, PACKED, event_files
from shared.events.record import to_line
from shared.events.tally import Tallies, Tally
from tests.support.events import NOON, event_of, write_events

BEFORE, AFTER = "2026-11-25T11:00:00.000Z", "2026-11-25T12:00:00.001Z"
TRICKY = '"kind":"click" "propensity":'


def test_events_after_a_moment_are_counted_by_kind(tmp_path: Path) -> None:
    write_events(
        tmp_path,
        [
            event_of(0, time=AFTER),
            event_of(1, time=AFTER, kind="impression", propensity=0.1),
            event_of(2, time=AFTER, kind="impression", query=TRICKY),
            event_of(3, time=NOON),
            event_of(4, time="2026-11-24T23:00:00.000Z"),
            event_of(5, time="2026-11-26T00:00:00.000Z"),
        ],
    )

    assert Tallies(tmp_path).since(NOON) == Tally(clicks=2, impressions=2, explored=1)
    assert Tallies(tmp_path).since("2020-01-01T00:00:00.000Z").clicks == 4


def test_what_is_appended_closed_or_packed_meanwhile_counts_once(tmp_path: Path) -> None:
    write_events(tmp_path, [event_of(0)], ends=OPEN)
    (path,) = event_files(tmp_path)
    tallies = Tallies(tmp_path)
    seen = [tallies.since(BEFORE).clicks]
    with path.open("ab") as file:
        line = to_line(event_of(1))
        file.write(line[:20])
        file.flush()
        seen.append(tallies.since(BEFORE).clicks)
        file.write(line[20:])
    seen.append(tallies.since(BEFORE).clicks)
    closed = path.rename(path.with_suffix(""))
    seen.append(tallies.since(BEFORE).clicks)
    (tmp_path / "2026-11-25.111111111111.0000.jsonl.gz").write_bytes(
        gzip.compress(closed.read_bytes())
    )
    closed.unlink()
    seen += [tallies.since(BEFORE).clicks, tallies.since(BEFORE).clicks]

    assert seen == [1, 1, 2, 2, 2, 2]


def test_a_new_bundle_begins_a_new_count(tmp_path: Path) -> None:
    write_events(tmp_path, [event_of(0), event_of(1, time=AFTER)])
    tallies = Tallies(tmp_path)

    assert [tallies.since(BEFORE).clicks, tallies.since(NOON).clicks] == [2, 1]


@pytest.mark.parametrize("ends", [OPEN, "", PACKED])
def test_a_day_after_the_moment_is_counted_like_any_other(tmp_path: Path, ends: str) -> None:
    events = [
        event_of(
            number,
            kind="click" if number % 3 else "impression",
            propensity=0.5 * (number % 2),
            query=TRICKY * (number % 20),
        )
        for number in range(3_000)
    ]
    write_events(tmp_path, events)
    (path,) = event_files(tmp_path)
    content = path.read_bytes()
    path.unlink()
    torn = b"" if ends != OPEN else content[:50]
    written = gzip.compress(content) if ends == PACKED else content + torn
    path.with_name(path.name + ends).write_bytes(written)

    for moment in ("2026-11-24T12:00:00.000Z", BEFORE):
        assert Tallies(tmp_path).since(moment) == Tally(2_000, 1_000, 1_500)


def test_a_damaged_file_hides_no_other(tmp_path: Path) -> None:
    write_events(tmp_path, [event_of(0)])
    (tmp_path / "2026-11-25.111111111111.0000.jsonl.gz").write_bytes(b"no gzip")

    assert Tallies(tmp_path).since(BEFORE).clicks == 1
