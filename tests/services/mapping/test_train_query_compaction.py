"""A compaction loses nothing: neither changes meanwhile, nor when it is killed at any step."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from services.mapping import index_files
from services.mapping import train_queries as module
from services.mapping.index_builder import build_index
from services.mapping.index_files import read_manifest
from services.mapping.train_queries import Upkeep
from shared.errors import Conflict
from tests.services.mapping.kept import ENCODER, opened, query, texts


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
