import fcntl
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.inference.event_compaction import compact, forget
from services.inference.event_log import EventLog
from shared.errors import Conflict, NotFound
from shared.events.files import OPEN, PACKED, days_of, event_files, read_day
from shared.events.privacy import make_key
from shared.events.record import StoredEvent
from tests.support.events import NOON, event_of, write_events

DAY = "2026-11-25"


def kept(folder: Path) -> list[StoredEvent]:
    return sorted(event for day in days_of(folder) for event in read_day(folder, day).events)


def content(folder: Path) -> bytes:
    import gzip

    return b"".join(
        gzip.decompress(path.read_bytes()) if path.suffix == PACKED else path.read_bytes()
        for path in event_files(folder)
    )


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(24, 26), st.integers(0, 3))))
def test_compacting_changes_no_event_and_leaves_one_file_a_day(
    tmp_path_factory: pytest.TempPathFactory, lines: list[tuple[int, int, int]]
) -> None:
    folder = tmp_path_factory.mktemp("events")
    for file in range(4):
        events = [
            event_of(number, time=f"2026-11-{day}T12:00:00.000Z")
            for number, day, of in lines
            if of == file
        ]
        write_events(folder, events, number=file)
    before = kept(folder)

    compact(folder)

    assert kept(folder) == before
    assert [path.suffix for path in event_files(folder)] == [PACKED] * len(days_of(folder))
    assert sum(read_day(folder, day).duplicates for day in days_of(folder)) == 0


def test_what_is_compact_is_left_as_it_is(tmp_path: Path) -> None:
    write_events(tmp_path, [event_of(0)])
    compact(tmp_path)
    (before,) = event_files(tmp_path)

    assert compact(tmp_path).days == 0
    assert event_files(tmp_path) == [before]


def test_files_that_a_service_writes_are_left_alone(tmp_path: Path) -> None:
    write_events(tmp_path, [event_of(0)])
    log = EventLog(tmp_path)
    log.append([event_of(1)]).result(30)

    compact(tmp_path)
    log.append([event_of(2)]).result(30)

    assert [event.id for event in kept(tmp_path)] == ["e0", "e1", "e2"]
    log.close()


def test_files_of_a_process_that_died_are_closed_and_compacted(tmp_path: Path) -> None:
    write_events(tmp_path, [event_of(0)], ends=OPEN)

    compact(tmp_path)

    assert [path.suffix for path in event_files(tmp_path)] == [PACKED]
    assert kept(tmp_path) == [event_of(0)]


def test_days_before_those_that_are_kept_are_removed(tmp_path: Path) -> None:
    write_events(
        tmp_path, [event_of(day, time=f"2026-11-{day}T12:00:00.000Z") for day in (23, 24, 25)]
    )

    done = compact(tmp_path, keep_from="2026-11-24")

    assert days_of(tmp_path) == ["2026-11-24", DAY]
    assert done.days_removed == 1


def test_a_crash_between_the_new_file_and_the_old_ones_counts_nothing_twice(
    tmp_path: Path,
) -> None:
    write_events(tmp_path, [event_of(0), event_of(1)])
    (old,) = event_files(tmp_path)
    saved = old.read_bytes()
    compact(tmp_path)
    old.write_bytes(saved)

    assert len(kept(tmp_path)) == 2
    compact(tmp_path)
    assert len(event_files(tmp_path)) == 1
    assert len(kept(tmp_path)) == 2


def test_what_a_compaction_that_was_cut_off_left_is_removed(tmp_path: Path) -> None:
    write_events(tmp_path, [event_of(0)])
    left = tmp_path / ".2026-11-25.000000000000.0000.jsonl.gz"
    left.write_bytes(b"half")

    compact(tmp_path)

    assert not left.exists()
    assert kept(tmp_path) == [event_of(0)]


def test_an_erased_ad_is_gone_from_the_bytes_of_all_closed_files(tmp_path: Path) -> None:
    make_key(tmp_path)
    write_events(tmp_path, [event_of(0, ad="secret-boat"), event_of(1)])
    compact(tmp_path)
    write_events(tmp_path, [event_of(2, ad="secret-boat"), event_of(3)], number=1)

    done = forget(tmp_path, "ad", "secret-boat", NOON)

    assert done.erased == 2
    assert [event.id for event in kept(tmp_path)] == ["e1", "e3"]
    assert b"secret-boat" not in content(tmp_path)
    assert all(b"secret-boat" not in path.read_bytes() for path in tmp_path.iterdir())


def test_a_day_of_erased_events_only_leaves_no_file(tmp_path: Path) -> None:
    make_key(tmp_path)
    write_events(tmp_path, [event_of(0)])

    forget(tmp_path, "query", "Fishing Boat", NOON)

    assert event_files(tmp_path) == []


def test_what_is_still_written_is_hidden_at_once_and_gone_once_it_is_closed(
    tmp_path: Path,
) -> None:
    make_key(tmp_path)
    log = EventLog(tmp_path)
    log.append([event_of(0, ad="secret-boat")]).result(30)

    forget(tmp_path, "ad", "secret-boat", NOON)
    from shared.events.privacy import erasures

    assert read_day(tmp_path, DAY, erasures(tmp_path)).events == []
    log.close()
    compact(tmp_path)
    assert b"secret-boat" not in content(tmp_path)


def test_two_compactions_do_not_meet(tmp_path: Path) -> None:
    make_key(tmp_path)
    with (tmp_path / ".compacting").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)

        with pytest.raises(Conflict, match="another compaction"):
            compact(tmp_path)
        with pytest.raises(Conflict, match="another compaction"):
            forget(tmp_path, "ad", "boat", NOON)
    assert not (tmp_path / "erased.jsonl").exists()


def test_without_a_folder_there_is_nothing_to_do(tmp_path: Path) -> None:
    assert compact(tmp_path / "nothing").days == 0
    with pytest.raises(NotFound, match="no events"):
        forget(tmp_path / "nothing", "ad", "boat", NOON)
