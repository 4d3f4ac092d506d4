"""Changes of train queries are kept and told, all or nothing, over restarts."""

from __future__ import annotations

from pathlib import Path

import pytest

from services.mapping.index_files import read_manifest
from services.mapping.train_queries import TrainQueries, Upkeep
from shared import record_file
from shared.dataset import Query
from shared.errors import InvalidInput, Unavailable
from tests.services.mapping.kept import nearest, opened, query, texts
from tests.support.encoders import BagOfWordsEncoder


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


def test_an_index_of_before_journals_were_written_with_it_is_read(folder: Path) -> None:
    manifest = read_manifest(folder)
    (folder / manifest.journal).unlink()
    older = manifest.model_dump_json(exclude={"has_journal"})
    (folder / "manifest.json").write_text(older)

    assert len(opened(folder).index) == 30
