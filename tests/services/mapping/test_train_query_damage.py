"""What is acknowledged is kept over kills, and damaged files are refused."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from services.mapping.index_files import read_manifest
from services.mapping.train_queries import TrainQueries
from shared.errors import Damaged, SkimError
from tests.services.mapping.kept import ENCODER, opened, query, texts


def test_what_was_acknowledged_survives_sigkill(folder: Path) -> None:
    """A process puts train queries and says so; it is killed amid them; all it said is there."""
    program = (
        "import sys; from pathlib import Path\n"
        "from services.mapping.train_queries import TrainQueries\n"
        "from shared.dataset import Query\n"
        "from tests.support.encoders import BagOfWordsEncoder\n"
        "it = TrainQueries.load(Path(sys.argv[1]), BagOfWordsEncoder())\n"
        "for n in range(10**6):\n"
        "    it.put([Query(id=f'n{n}', text=f'new {n}')])\n"
        "    print(n, flush=True)\n"
    )
    with subprocess.Popen(  # noqa: S603
        [sys.executable, "-c", program, str(folder)], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        said = [int(process.stdout.readline()) for _ in range(40)]
        os.kill(process.pid, signal.SIGKILL)
        said += [int(line) for line in process.stdout.read().split()]

    there = texts(opened(folder))
    assert {f"n{number}" for number in said} <= there.keys()
    assert len(there) - 30 - len(said) in (0, 1)  # one more may have been written and not yet said


@pytest.mark.parametrize("cut", [1, 3, 4, 7, 8, 11, 12, 13, 60, -1])
def test_a_record_that_was_cut_off_is_dropped(folder: Path, cut: int) -> None:
    train_queries = opened(folder)
    train_queries.put([query("whole")])
    path = folder / read_manifest(folder).journal
    whole = path.stat().st_size
    train_queries.put([query("cut")])
    content = path.read_bytes()
    path.write_bytes(content[: whole + cut] if cut > 0 else content[:cut])

    again = opened(folder)

    assert "whole" in texts(again)
    assert "cut" not in texts(again)
    again.put([query("next")])
    assert texts(opened(folder)).keys() >= {"whole", "next"}


def test_a_journal_that_was_lost_is_noticed(folder: Path) -> None:
    opened(folder).put([query("new")])
    (folder / read_manifest(folder).journal).unlink()

    with pytest.raises(Damaged, match=r"journal-.*missing"):
        opened(folder)


def test_a_reader_does_not_mend_the_journal_of_another_process(folder: Path) -> None:
    train_queries = opened(folder)
    train_queries.put([query("whole")])
    path = folder / read_manifest(folder).journal
    path.write_bytes(path.read_bytes() + b"\x99\x00")
    size = path.stat().st_size

    read = TrainQueries.load(folder, ENCODER, is_owner=False)

    assert "whole" in texts(read)
    assert path.stat().st_size == size


def damaged_at() -> list[tuple[str, float]]:
    """Return every file of an index and places in it: first byte, header, levels and links, vectors, tail."""
    return [
        (part, place)
        for part in ("index", "queries", "journal")
        for place in (0, 0.02, 0.1, 0.5, 0.9, 1)
    ]


@pytest.mark.parametrize(("part", "place"), damaged_at())
@pytest.mark.parametrize("how", ["flipped", "cut"])
def test_a_damaged_file_is_refused_wherever_it_is_damaged(
    folder: Path, part: str, place: float, how: str
) -> None:
    opened(folder).put([query("first")])
    opened(folder).put([query("second")])
    manifest = read_manifest(folder)
    names = {"index": manifest.index[1].name, "queries": manifest.queries.name}
    name = names.get(part, manifest.journal)
    path = folder / name
    content = bytearray(path.read_bytes())
    at = min(int(place * len(content)), len(content) - 1)
    if how == "flipped":
        content[at] ^= 0x40
    else:
        del content[at:]
    path.write_bytes(content)

    found = _texts_or_error(folder)

    if isinstance(found, str):
        assert name in found
    else:  # cut off where a crash may have cut it: before an acknowledgement
        assert (part, how) == ("journal", "cut")
        assert "second" not in found
        assert found.keys() >= {f"q{number}" for number in range(30)}


def _texts_or_error(folder: Path) -> dict[str, str] | str:
    try:
        return texts(opened(folder))
    except SkimError as error:
        return str(error)


def test_a_manifest_may_be_damaged_anywhere(folder: Path) -> None:
    path = folder / "manifest.json"
    content = path.read_bytes()
    for at in range(0, len(content), 7):
        for damaged in (
            content[:at],
            content[:at] + bytes([content[at] ^ 0x40]) + content[at + 1 :],
        ):
            path.write_bytes(damaged)
            found = _texts_or_error(folder)
            # A digit of a figure that nothing hangs on may pass.
            assert str(folder) in found if isinstance(found, str) else len(found) == 30
