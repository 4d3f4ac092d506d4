import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from services.cli.__main__ import app
from services.cli.store_files import export_to, import_from
from shared.errors import Conflict, Damaged, InvalidInput
from shared.store import MemoryStore, RedisStore
from shared.store.rows import Row
from shared.store.server import RedisServer
from tests.support.documents import document_of, label_of, revision_of

DOCUMENTS = 450


class Killed(BaseException):
    pass


class Dying(MemoryStore):
    """A store whose reader is killed after so many rows, or its writer after so many steps."""

    rows_left = steps_left = 1_000_000

    def iterate_rows(self, after: str = "") -> Iterator[Row]:
        for row in super().iterate_rows(after):
            if self.rows_left == 0:
                raise Killed
            self.rows_left -= 1
            yield row

    def import_rows(self, since: int, rows: object) -> int:
        if self.steps_left == 0:
            raise Killed
        self.steps_left -= 1
        return super().import_rows(since, rows)


@pytest.fixture
def store() -> Dying:
    return filled(Dying())


def filled(store: Dying) -> Dying:
    job = store.accept([document_of(f"d{number:04}") for number in range(DOCUMENTS)])
    for number in range(0, DOCUMENTS, 2):
        document = document_of(f"d{number:04}")
        store.write_labels(document.id, revision_of(document, label_of("q1", 0.9)))
        store.finish_document(job.id, document.id, labels=1)
    return store


def quiet(done: int, total: int) -> None:
    assert 0 <= done <= total


def seen(store: MemoryStore) -> object:
    return list(store.iterate_rows()), store.counts()


@pytest.mark.parametrize("name", ["store.jsonl", "store.jsonl.gz", "store.jsonl.xz"])
def test_a_store_comes_back_from_its_file(store: Dying, tmp_path: Path, name: str) -> None:
    written = export_to(tmp_path / name, store, quiet)
    found = MemoryStore()

    counts = import_from(tmp_path / name, found, quiet)

    assert seen(found) == seen(store)
    assert counts.documents == written.documents == DOCUMENTS
    assert not written.has_moved
    assert [path.name for path in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize("rows", [0, 1, 200, 300, 675])
def test_an_export_that_was_killed_is_gone_on_with(
    store: Dying, tmp_path: Path, rows: int
) -> None:
    path, store.rows_left = tmp_path / "store.jsonl", rows
    with pytest.raises(Killed):
        export_to(path, store, quiet)
    assert not path.exists()
    with (tmp_path / "store.jsonl.part").open("ab") as part:
        part.write(b'{"kind":"document","docu')  # what a kill leaves of a line
    store.rows_left = 1_000_000

    written = export_to(path, store, quiet)

    waiting = DOCUMENTS // 2
    assert (written.resumed_at > 0) == (rows > 1 + waiting)
    found = MemoryStore()
    import_from(path, found, quiet)
    assert seen(found) == seen(store)


def test_an_export_is_not_gone_on_with_from_another_store(store: Dying, tmp_path: Path) -> None:
    store.rows_left = 500
    with pytest.raises(Killed):
        export_to(tmp_path / "store.jsonl", store, quiet)

    with pytest.raises(Conflict, match="begun with another store"):
        export_to(tmp_path / "store.jsonl", MemoryStore(), quiet)


def test_an_import_that_was_killed_is_gone_on_with(store: Dying, tmp_path: Path) -> None:
    path, found = tmp_path / "store.jsonl.gz", Dying()
    export_to(path, store, quiet)
    found.steps_left = 2
    with pytest.raises(Killed):
        import_from(path, found, quiet)
    found.steps_left = 1_000_000

    import_from(path, found, quiet)

    assert seen(found) == seen(store)


@pytest.mark.parametrize("name", ["store.jsonl", "store.jsonl.gz", "store.jsonl.xz"])
def test_of_a_file_that_is_cut_off_nothing_is_written(
    store: Dying, tmp_path: Path, name: str
) -> None:
    path, found = tmp_path / name, MemoryStore()
    export_to(path, store, quiet)
    whole = path.read_bytes()

    for size in (0, 10, len(whole) // 2, len(whole) - 2):
        path.write_bytes(whole[:size])
        with pytest.raises(Damaged):
            import_from(path, found, quiet)

    assert found.counts().documents == 0


def test_a_file_that_was_changed_is_refused(store: Dying, tmp_path: Path) -> None:
    path = tmp_path / "store.jsonl"
    export_to(path, store, quiet)
    path.write_bytes(path.read_bytes().replace(b"played with a reed", b"played with a bow.", 1))

    with pytest.raises(Damaged, match="is not what was written"):
        import_from(path, MemoryStore(), quiet)


@pytest.mark.parametrize(
    ("old", "new"), [(b'"layout":"1"', b'"layout":"0"'), (b'"format":1', b'"format":2')]
)
def test_another_version_is_refused(store: Dying, tmp_path: Path, old: bytes, new: bytes) -> None:
    path = tmp_path / "store.jsonl"
    export_to(path, store, quiet)
    path.write_bytes(path.read_bytes().replace(old, new, 1))

    with pytest.raises(InvalidInput, match="expected 1 and 1"):
        import_from(path, MemoryStore(), quiet)


def skim(server: RedisServer, *arguments: str) -> Result:
    return CliRunner().invoke(app, ["store", *arguments], env={"SKIM_REDIS_URL": server.url})


def test_the_commands_move_a_store(
    redis_server: RedisServer, redis_store: RedisStore, tmp_path: Path
) -> None:
    job = redis_store.accept([document_of("d1"), document_of("d2")])
    redis_store.write_labels("d1", revision_of(document_of("d1"), label_of("q1", 0.9)))
    redis_store.finish_document(job.id, "d1", labels=1)
    labels, counts = redis_store.labels("d1"), redis_store.counts()
    path = str(tmp_path / "store.jsonl.gz")

    exported = skim(redis_server, "export", path)
    refused = skim(redis_server, "import", path)
    imported = skim(redis_server, "import", path, "--replace", "--yes")

    assert json.loads(exported.stdout)["documents"] == 2
    assert isinstance(refused.exception, Conflict)
    assert json.loads(imported.stdout)["labels"] == 1
    assert (redis_store.labels("d1"), redis_store.counts()) == (labels, counts)
