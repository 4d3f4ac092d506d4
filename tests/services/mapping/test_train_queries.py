"""What is acknowledged is kept: over restarts, kills at any moment, compactions, and damaged files."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from services.mapping import index_files, segmented_graph
from services.mapping import train_queries as module
from services.mapping.index_builder import build_index
from services.mapping.index_files import read_manifest
from services.mapping.train_queries import TrainQueries, Upkeep
from shared import record_file
from shared.dataset import Query
from shared.errors import Conflict, Damaged, InvalidInput, SkimError, Unavailable
from tests.support.encoders import BagOfWordsEncoder

ENCODER = BagOfWordsEncoder()


def query(name: str, text: str | None = None) -> Query:
    return Query(id=name, text=text or f"{name} text")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give the folder of an index of three segments."""
    monkeypatch.setattr(segmented_graph, "ROWS_PER_SEGMENT", 10)
    queries = [query(f"q{number}") for number in range(30)]
    build_index(queries, ENCODER, tmp_path / "mapping", lambda *_: None)
    return tmp_path / "mapping"


def opened(folder: Path, upkeep: Upkeep | None = None) -> TrainQueries:
    return TrainQueries.load(folder, ENCODER, upkeep=upkeep)


def texts(train_queries: TrainQueries) -> dict[str, str]:
    return {each.id: each.text for each in train_queries.index.queries}


def nearest(train_queries: TrainQueries, text: str) -> str:
    [[(found, _)]] = train_queries.index.nearest(ENCODER.encode([text]), 1)
    return found.id


def test_changes_are_there_after_a_restart_without_encoding_anything(folder: Path) -> None:
    before = opened(folder)
    changed = before.put([query("new"), query("q1", "other words"), query("q2")])
    deleted = before.delete(["q3", "nobody"])

    assert (changed.added, changed.changed, changed.unchanged) == (1, 1, 1)
    assert (deleted.removed, deleted.unknown, deleted.train_queries) == (1, 1, 30)
    encoder = BagOfWordsEncoder()
    after = TrainQueries.load(folder, encoder)
    assert encoder.calls == []
    assert texts(after) == texts(before)
    assert after.index.version == before.index.version == deleted.version
    assert nearest(after, "other words") == "q1"
    assert nearest(after, "new text") == "new"
    assert after.changes(0) == before.changes(0)


def test_what_changed_is_told_from_any_version_on(folder: Path) -> None:
    train_queries = opened(folder)
    start = train_queries.index.version
    first = train_queries.put([query("new"), query("q1", "other words")]).version
    second = train_queries.delete(["q3", "new"]).version
    third = train_queries.put([query("q3", "back again")]).version

    whole = train_queries.changes(start)
    assert (whole.is_complete, whole.version) == (True, third)
    assert (set(whole.added), set(whole.removed)) == ({"q1", "q3"}, {"q1", "q3", "new"})
    assert train_queries.changes(first).added == ["q3"]
    assert set(train_queries.changes(first).removed) == {"q3", "new"}
    assert (train_queries.changes(second).added, train_queries.changes(second).removed) == (
        ["q3"],
        [],
    )
    assert train_queries.changes(third).added == train_queries.changes(third).removed == []
    assert not train_queries.changes(start - 1).is_complete
    assert not train_queries.changes(third + 1).is_complete


def test_another_policy_outdates_everything_and_is_remembered(folder: Path) -> None:
    train_queries = opened(folder)
    train_queries.note_policy("a")
    since = train_queries.put([query("new")]).version
    train_queries.note_policy("a")
    assert train_queries.changes(since).is_complete

    train_queries.note_policy("b")

    assert not train_queries.changes(since).is_complete
    again = opened(folder)
    again.note_policy("b")
    assert (again.index.version, again.changes(0).policy) == (train_queries.index.version, "b")


def test_a_history_that_is_too_long_forgets_the_oldest(folder: Path) -> None:
    train_queries = opened(folder, Upkeep(history=3))
    versions = [train_queries.put([query(f"new{number}")]).version for number in range(5)]

    assert not train_queries.changes(versions[0]).is_complete
    assert train_queries.changes(versions[1]).added == ["new2", "new3", "new4"]


def test_all_or_nothing_of_a_change(folder: Path) -> None:
    train_queries = opened(folder)
    before = (texts(train_queries), train_queries.index.version)

    with pytest.raises(InvalidInput, match="occurs twice"):
        train_queries.put([query("new"), query("new", "another")])
    with pytest.raises(InvalidInput, match="of split 'test'"):
        train_queries.put([query("new"), Query(id="t", text="t", split="test")])

    assert (texts(train_queries), train_queries.index.version) == before
    assert texts(opened(folder)) == before[0]


def test_what_the_disk_refused_was_not_changed(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train_queries = opened(folder)
    train_queries.put([query("kept")])

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(record_file.os, "fsync", full)
    with pytest.raises(Unavailable, match="No space left"):
        train_queries.put([query("lost")])
    monkeypatch.undo()

    assert train_queries.index.get("lost") is None
    train_queries.put([query("after")])
    assert texts(opened(folder)).keys() >= {"kept", "after"}
    assert "lost" not in texts(opened(folder))


def test_a_compaction_keeps_everything_and_the_history(folder: Path) -> None:
    train_queries = opened(folder, Upkeep(recent=5))
    start = train_queries.index.version
    for number in range(6):
        train_queries.put([query(f"new{number}")])
    train_queries.delete(["q0"])
    assert train_queries.needs_compaction
    before, changes = texts(train_queries), train_queries.changes(start)

    train_queries.compact()

    assert not train_queries.needs_compaction
    for each in (train_queries, opened(folder)):
        assert (texts(each), each.changes(start)) == (before, changes)
    manifest = read_manifest(folder)
    assert (manifest.train_queries, len(manifest.index)) == (35, 4)
    assert {path.name for path in folder.iterdir()} == {"manifest.json", *manifest.names}
    train_queries.put([query("later")])
    assert opened(folder).changes(start).added[-1] == "later"


def test_changes_during_a_compaction_are_kept(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train_queries = opened(folder)
    start = train_queries.index.version
    train_queries.put([query("before")])
    build = module.TrainQueryIndex.rebuilder

    def slowly(index: module.TrainQueryIndex) -> Callable[[], module.TrainQueryIndex]:
        rebuild = build(index)

        def run() -> module.TrainQueryIndex:
            fresh = rebuild()
            train_queries.put([query("during"), query("before", "changed meanwhile")])
            train_queries.delete(["q5"])
            train_queries.note_policy("another")
            return fresh

        return run

    monkeypatch.setattr(module.TrainQueryIndex, "rebuilder", slowly)
    train_queries.compact()

    again = opened(folder)
    for each in (train_queries, again):
        assert texts(each)["before"] == "changed meanwhile"
        assert each.index.get("during") is not None
        assert each.index.get("q5") is None
    assert again.index.version == train_queries.index.version
    assert again.changes(start) == train_queries.changes(start)
    assert again.changes(0).policy == "another"


def test_a_compaction_killed_at_any_step_loses_nothing(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every write and rename of a compaction is a step that the process may die before."""
    train_queries = opened(folder)
    start = train_queries.index.version
    train_queries.put([query("new"), query("q1", "other words")])
    train_queries.delete(["q2"])
    before, changes = texts(train_queries), train_queries.changes(start)

    step, died = 0, True
    while died:
        copy = tmp_path / f"killed-before-{step}"
        shutil.copytree(folder, copy)
        died = _compact_and_die(copy, step, monkeypatch)
        again = opened(copy)
        assert (texts(again), again.changes(start)) == (before, changes)
        again.put([query("later")])
        again.compact()
        assert texts(opened(copy)) == before | {"later": "later text"}
        step += 1

    assert step > 6


def _compact_and_die(folder: Path, step: int, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Compact, and say whether it died before its so-many-th change of the disk."""
    train_queries = opened(folder)
    with monkeypatch.context() as patched:
        _die_before(step, patched)
        try:
            train_queries.compact()
        except _Killed:
            return True
    return False


class _Killed(BaseException):
    """Stands for SIGKILL: nothing catches it."""


def _die_before(step: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the process die before its so-many-th change of the disk."""
    done = [0]

    def counted(change: Callable[..., object]) -> Callable[..., object]:
        def run(*args: object, **kwargs: object) -> object:
            if done[0] == step:
                raise _Killed
            done[0] += 1
            return change(*args, **kwargs)

        return run

    for name in ("replace", "unlink", "write_bytes"):
        monkeypatch.setattr(Path, name, counted(getattr(Path, name)))
    for name in ("write_rows", "move_in"):
        monkeypatch.setattr(index_files, name, counted(getattr(index_files, name)))


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


def test_an_index_of_before_journals_were_written_with_it_is_read(folder: Path) -> None:
    manifest = read_manifest(folder)
    (folder / manifest.journal).unlink()
    older = manifest.model_dump_json(exclude={"has_journal"})
    (folder / "manifest.json").write_text(older)

    assert len(opened(folder).index) == 30


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


def test_a_change_after_the_index_was_replaced_is_refused_and_not_lost(folder: Path) -> None:
    """`skim mapping build` beside a running service: until it reloads, it acknowledges nothing."""
    train_queries = opened(folder)
    build_index([query("other")], ENCODER, folder, lambda *_: None)

    for change in (
        lambda: train_queries.put([query("new")]),
        lambda: train_queries.delete(["q1"]),
    ):
        with pytest.raises(Conflict, match="was replaced"):
            change()
    with pytest.raises(Conflict, match="was replaced"):
        train_queries.compact()

    assert texts(opened(folder)) == {"other": "other text"}


def test_a_compaction_that_ends_after_a_reload_replaces_nothing(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train_queries = opened(folder)
    train_queries.put([query("before")])
    build = module.TrainQueryIndex.rebuilder

    def reload_meanwhile(index: module.TrainQueryIndex) -> Callable[[], module.TrainQueryIndex]:
        rebuild = build(index)

        def run() -> module.TrainQueryIndex:
            train_queries.retire()
            opened(folder).put([query("new-owner")])
            return rebuild()

        return run

    monkeypatch.setattr(module.TrainQueryIndex, "rebuilder", reload_meanwhile)
    with pytest.raises(Conflict):
        train_queries.compact()

    assert {"before", "new-owner"} <= texts(opened(folder)).keys()
