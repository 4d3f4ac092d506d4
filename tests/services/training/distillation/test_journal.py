"""A journal: one write a row, mended after a crash, one writer."""

import resource
from pathlib import Path

import pytest

from services.training.distillation.budget import Cost
from services.training.distillation.journal import Journal
from shared.errors import Conflict, InvalidInput, SkimError


def calls_in(path: Path) -> list[int]:
    with Journal(path, Cost, key="call") as journal:
        return [row.call for row in journal.rows()]


def test_a_row_is_in_the_file_when_append_returns(tmp_path: Path) -> None:
    with Journal(tmp_path / "new" / "calls.jsonl", Cost, key="call") as journal:
        journal.append(Cost(call=1))
        journal.append(Cost(call=2, tokens_in=3))

        assert (tmp_path / "new" / "calls.jsonl").read_text().count("\n") == 2
        assert [row.tokens_in for row in journal.rows()] == [0, 3]


def test_a_row_cut_at_any_byte_is_dropped_and_never_spoils_the_next(tmp_path: Path) -> None:
    path = tmp_path / "calls.jsonl"
    with Journal(path, Cost, key="call") as journal:
        journal.append(Cost(call=1))
        start = path.stat().st_size
        journal.append(Cost(call=2, money=0.5))
    whole = path.read_bytes()

    for end in range(start, len(whole) - 1):
        path.write_bytes(whole[:end])
        with Journal(path, Cost, key="call") as journal:
            journal.append(Cost(call=3))

        assert calls_in(path) == [1, 3]


def test_a_whole_row_that_lacks_only_its_line_end_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "calls.jsonl"
    path.write_text('{"call": 1}\n{"call": 2}')

    with Journal(path, Cost, key="call") as journal:
        journal.append(Cost(call=3))

    assert calls_in(path) == [1, 2, 3]


def test_a_damaged_line_in_the_middle_is_told_by_number(tmp_path: Path) -> None:
    path = tmp_path / "calls.jsonl"
    path.write_text('{"call": 1}\n{"call"\n{"call": 3}\n')

    with pytest.raises(InvalidInput, match=r"calls\.jsonl:2"):
        calls_in(path)


def test_a_second_writer_is_turned_away_until_the_first_is_done(tmp_path: Path) -> None:
    path = tmp_path / "calls.jsonl"
    with Journal(path, Cost), pytest.raises(Conflict, match="another process is writing it"):
        Journal(path, Cost)

    assert calls_in(path) == []


@pytest.mark.parametrize("bytes_left", [0, 5])
def test_a_row_for_which_there_is_no_room_is_an_error_and_leaves_no_trace(
    tmp_path: Path, bytes_left: int
) -> None:
    path = tmp_path / "calls.jsonl"
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    with Journal(path, Cost, key="call") as journal:
        journal.append(Cost(call=1))
        resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size + bytes_left, hard))
        try:
            with pytest.raises(SkimError, match="cannot be written"):
                journal.append(Cost(call=2))
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

    assert calls_in(path) == [1]


def test_a_path_that_cannot_be_opened_is_an_error_of_ours(tmp_path: Path) -> None:
    with pytest.raises(SkimError, match="cannot be opened"):
        Journal(tmp_path, Cost)
