import fcntl
import gzip
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.errors import Damaged
from shared.events.files import OPEN, days_of, event_files, file_name, mend, read_day
from shared.events.record import StoredEvent, to_line
from tests.support.events import event_of, write_events

DAY = "2026-11-25"


def only_file(folder: Path) -> Path:
    (path,) = event_files(folder)
    return path


def test_a_folder_that_is_not_there_has_no_days(tmp_path: Path) -> None:
    assert days_of(tmp_path / "nothing") == []


def test_days_come_in_order_and_other_files_are_left_alone(tmp_path: Path) -> None:
    write_events(tmp_path, [event_of(0), event_of(1, time="2026-11-24T00:00:00.000Z")])
    for name in ("key", "erased.jsonl", ".2026-11-20.000000000000.0000.jsonl.open", "x.jsonl"):
        (tmp_path / name).write_text("")

    assert days_of(tmp_path) == ["2026-11-24", DAY]


def test_an_event_that_came_again_counts_once(tmp_path: Path) -> None:
    write_events(tmp_path, [event_of(0), event_of(1), event_of(0)])
    write_events(tmp_path, [event_of(1)], number=1, ends=OPEN)

    found = read_day(tmp_path, DAY)

    assert sorted(found.events) == [event_of(0), event_of(1)]
    assert found.duplicates == 2


@given(st.permutations([event_of(0), event_of(0, ad="oar"), event_of(0, position=3), event_of(1)]))
def test_of_one_id_with_several_contents_the_same_is_taken_whatever_came_first(
    tmp_path_factory: pytest.TempPathFactory, events: list[StoredEvent]
) -> None:
    folder = tmp_path_factory.mktemp("events")
    write_events(folder, events)

    assert sorted(read_day(folder, DAY).events) == [event_of(0), event_of(1)]


def test_a_damaged_line_costs_no_other(tmp_path: Path) -> None:
    write_events(tmp_path, [event_of(number) for number in range(3)])
    path = only_file(tmp_path)
    path.write_bytes(path.read_bytes().replace(b'"e1"', b'"x1"'))

    found = read_day(tmp_path, DAY)

    assert [event.id for event in found.events] == ["e0", "e2"]
    assert found.damaged == 1


def test_the_line_that_is_being_written_is_no_damage(tmp_path: Path) -> None:
    path = tmp_path / file_name(DAY, "0" * 12, 0, ends=OPEN)
    path.write_bytes(to_line(event_of(0)) + to_line(event_of(1))[:-9])

    found = read_day(tmp_path, DAY)

    assert (found.events, found.damaged) == ([event_of(0)], 0)


@pytest.mark.parametrize("kept", range(0, 3 * len(to_line(event_of(0))), 7))
def test_a_torn_file_is_mended_to_its_last_whole_line(tmp_path: Path, kept: int) -> None:
    lines = [to_line(event_of(number)) for number in range(3)]
    path = tmp_path / file_name(DAY, "0" * 12, 0, ends=OPEN)
    path.write_bytes(b"".join(lines)[:kept])

    mend(tmp_path)

    whole = kept // len(lines[0])
    left = [path.read_bytes() for path in event_files(tmp_path)]
    assert left == ([b"".join(lines[:whole])] if whole else [])
    assert all(path.suffix == ".jsonl" for path in event_files(tmp_path))


def test_noise_after_the_last_whole_line_is_cut_off_and_damage_before_it_is_kept(
    tmp_path: Path,
) -> None:
    path = tmp_path / file_name(DAY, "0" * 12, 0, ends=OPEN)
    whole = b"noise\n" + to_line(event_of(0))
    path.write_bytes(whole + b"\0" * 100 + b"\nnoise\n")

    mend(tmp_path)

    assert only_file(tmp_path).read_bytes() == whole


def test_the_file_of_a_process_that_lives_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / file_name(DAY, "0" * 12, 0, ends=OPEN)
    path.write_bytes(to_line(event_of(0))[:-9])
    with path.open("rb") as owner:
        fcntl.flock(owner, fcntl.LOCK_EX)

        assert mend(tmp_path) == []

    assert only_file(tmp_path) == path


def test_a_packed_file_is_read_and_a_broken_one_is_named(tmp_path: Path) -> None:
    path = tmp_path / file_name(DAY, "0" * 12, 0, ends=".gz")
    path.write_bytes(gzip.compress(to_line(event_of(0))))
    assert read_day(tmp_path, DAY).events == [event_of(0)]

    path.write_bytes(path.read_bytes()[:-12])
    with pytest.raises(Damaged, match=path.name):
        read_day(tmp_path, DAY)
