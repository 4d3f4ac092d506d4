from collections import Counter
from collections.abc import Callable, Iterator
from itertools import chain, islice
from typing import Any

import pytest
import redis
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from shared.contracts.reviews import ReviewVerdict, Verdict
from shared.errors import Conflict, Damaged
from shared.store import MemoryStore, RedisStore, Store
from shared.store.intake import Incoming, Key
from shared.store.rows import (
    DocumentRow,
    HeaderRow,
    JobRow,
    Row,
    StagedRow,
    WaitingRow,
    line_of,
    row_of,
)
from tests.shared.store.driver import Driver
from tests.shared.store.operations import intake_operation, operation
from tests.support.documents import document_of, label_of, revision_of

Make = Callable[[str], Store]


@pytest.fixture
def make(redis_client: redis.Redis) -> Make:
    """Makes empty stores; there is one Redis, so that the second in it replaces the first."""

    def made(kind: str) -> Store:
        if kind == "memory":
            return MemoryStore()
        redis_client.flushall()
        return RedisStore(redis_client)

    return made


File = tuple[HeaderRow, list[bytes], bool]
"""Header and lines of a store's file, and whether something happened while it was written."""


def file_of(source: Store) -> File:
    header = source.header()
    lines = [line_of(row) for row in source.iterate_rows()]
    return header, lines, source.totals() != dict(header.totals)


def written(file: File, store: Store, *, rows_at_once: int = 3) -> Store:
    """Return a store that is written from another's file."""
    header, lines, has_moved = file
    count = store.begin_import(header, replace=False)
    for chunk in _chunks(lines, rows_at_once):
        count = store.import_rows(count, [row_of(each, "a line") for each in chunk])
    store.end_import(has_moved=has_moved)
    return store


def move(source: Store, target: Callable[[], Store]) -> Store:
    """Return a store that is written from another's rows, as they are in a file."""
    return written(file_of(source), target())


def _chunks(lines: list[bytes], size: int) -> Iterator[list[bytes]]:
    left = iter(lines)
    while chunk := list(islice(left, size)):
        yield chunk


@settings(
    max_examples=60,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    operations=st.lists(operation | intake_operation, max_size=30),
    kinds=st.sampled_from(
        [("memory", "memory"), ("memory", "redis"), ("redis", "memory"), ("redis", "redis")]
    ),
)
@example(
    operations=[("upload", None, "o1", 60, [[document_of("d1")]], "seal"), ("remove", ["d1"])],
    kinds=("redis", "memory"),
)
def test_a_store_is_the_same_after_a_move(
    make: Make, operations: list[tuple[Any, ...]], kinds: tuple[str, str]
) -> None:
    source, target = kinds
    driver = Driver(make(source))
    for each in operations:
        driver.run(*each)
    file, jobs = file_of(driver.store), _jobs_with_removed(driver.store)
    _take_in(driver.store, jobs)
    before, waits = driver.seen(), _waits(driver)

    driver.store = written(file, make(target))

    _take_in(driver.store, jobs)
    assert _without_order(driver.seen()) == _without_order(before)
    assert _waits(driver) == waits


def _jobs_with_removed(store: Store) -> list[str]:
    """Return the jobs with documents that were removed while staged: a move counts them as over, `take_in` does else."""
    kinds = (StagedRow, WaitingRow)
    there = Counter(row.job_id for row in store.iterate_rows() if isinstance(row, kinds))
    jobs = [store.job(job_id) for job_id in store.sealed_uploads()]
    return [job.id for job in jobs if there[job.id] < job.documents - job.done - job.failed]


def _take_in(store: Store, jobs: list[str]) -> None:
    for job_id in jobs:
        store.take_in(job_id, 1_000)


def _waits(driver: Driver) -> object:
    """What every job still has to see to, whoever had it in hands."""
    store = driver.store
    return {
        (driver.jobs.index(row.job_id), row.document_id, row.tries, row.reason)
        for row in store.iterate_rows()
        if isinstance(row, WaitingRow)
    }


def _without_order(seen: object) -> object:
    """Leave out whose hands something is in, and which of two jobs of one microsecond is first."""
    assert isinstance(seen, dict)
    del seen["abandoned"]
    return {
        **seen,
        "pages": sorted(chain.from_iterable(seen["pages"])),
        "sealed": sorted(seen["sealed"]),
    }


@pytest.mark.parametrize("target", ["memory", "redis"])
def test_everything_that_belongs_to_a_document_goes_along(
    store: Store, make: Make, target: str
) -> None:
    one, other = document_of("d1"), document_of("d2")
    store.note_generator("slm-1")
    accepted = store.accept_request([Incoming(one), Incoming(other)], Key("k", "digest", 60))
    label = label_of("q1", 1 / 3, probability=0.1 + 0.2)
    revision = revision_of(one, label, policy="p", index_version=2**52 + 1)
    store.write_labels("d1", revision)
    store.put_reviews([Verdict(document_id="d1", query_id="q9", verdict=ReviewVerdict.REJECT)])
    store.finish_document(accepted.job.id, "d1", labels=1)
    store.finish_document(accepted.job.id, "d2", error="odd")
    expected = (store.labels("d1"), store.reviews("d1"), store.dead_letters(9), store.counts())
    job = store.job(accepted.job.id)

    moved = move(store, lambda: make(target))

    found = (moved.labels("d1"), moved.reviews("d1"), moved.dead_letters(9), moved.counts())
    assert found == expected
    assert moved.job(job.id) == job
    assert moved.document("d1").content_hash == one.content_hash
    again = moved.accept_request([Incoming(one), Incoming(other)], Key("k", "digest", 60))
    assert (again.is_replay, again.job.id) == (True, job.id)


def test_a_store_that_holds_something_is_not_imported_into_unless_told(store: Store) -> None:
    store.accept([document_of("d1")])
    header = MemoryStore().header()

    with pytest.raises(Conflict, match=r"1 documents and 1 jobs.*--replace"):
        store.begin_import(header, replace=False)

    assert store.counts().documents == 1
    assert store.begin_import(header, replace=True) == 0
    assert store.end_import(has_moved=False).documents == 0


def test_an_import_goes_on_where_it_stopped_and_rows_count_once(store: Store) -> None:
    source = MemoryStore()
    source.accept([document_of("d1"), document_of("d2")])
    header, rows = source.header(), list(source.iterate_rows())
    store.begin_import(header, replace=False)
    store.import_rows(0, rows[:2])

    assert store.begin_import(header, replace=False) == 2
    assert store.import_rows(0, rows[:2]) == 2
    assert store.import_rows(2, rows[2:]) == len(rows)
    assert store.end_import(has_moved=False) == source.counts()


def test_a_store_that_is_half_imported_is_used_by_nobody_and_takes_no_other_import(
    redis_client: redis.Redis, redis_store: RedisStore
) -> None:
    source = MemoryStore()
    redis_store.begin_import(source.header(), replace=False)

    with pytest.raises(Conflict, match="an import is under way"):
        RedisStore(redis_client).counts()
    with pytest.raises(Conflict, match="an import is under way"):
        redis_store.counts()
    with pytest.raises(Conflict, match="half of the import of another file"):
        redis_store.begin_import(source.header(), replace=False)

    redis_store.end_import(has_moved=False)
    RedisStore(redis_client).check()
    assert redis_client.keys("skim:1:import*") == []


@pytest.mark.parametrize("target", ["memory", "redis"])
def test_what_is_finished_or_accepted_while_it_is_exported_is_not_lost(
    redis_store: RedisStore, make: Make, target: str
) -> None:
    job = redis_store.accept([document_of(f"d{number}") for number in range(4)])
    header, rows = redis_store.header(), redis_store.iterate_rows()
    lines: list[Row] = [next(rows)]  # the job is read, and nothing else
    redis_store.write_labels("d0", revision_of(document_of("d0"), label_of("q1", 0.9)))
    redis_store.finish_document(job.id, "d0", labels=1)
    redis_store.finish_document(job.id, "d1", error="odd")
    redis_store.finish_document(job.id, "d2")  # done, without labels
    redis_store.accept([document_of("late")])
    lines += list(rows)
    has_moved = redis_store.totals() != dict(header.totals)

    moved = make(target)
    written = moved.begin_import(header, replace=False)
    moved.import_rows(written, lines)
    counts = moved.end_import(has_moved=has_moved)

    waits = {row.document_id for row in moved.iterate_rows() if isinstance(row, WaitingRow)}
    assert isinstance(lines[0], JobRow)
    assert waits == {"d2", "d3", "late"}
    assert [each.document_id for each in moved.dead_letters(9).dead_letters] == ["d1"]
    assert len(moved.labels("d0").labels) == 1
    assert counts.waiting == 3
    assert counts.accepted == counts.done + counts.failed + counts.waiting
    assert moved.job(job.id).done == 3


def test_rows_after_a_document_are_documents_alone(store: Store) -> None:
    store.accept([document_of(each) for each in ("d1", "d2", "d3")])

    rows = list(store.iterate_rows("d1"))

    assert all(isinstance(each, DocumentRow) for each in rows)
    assert [each.document.id for each in rows] == ["d2", "d3"]


@pytest.mark.parametrize(
    "line", [b"", b"{}", b'{"kind":"job"}', b'{"kind":"secret word"}', b"\xff"]
)
def test_a_line_that_is_no_row_is_told_by_its_place(line: bytes) -> None:
    with pytest.raises(Damaged, match=r"^line 7: ") as caught:
        row_of(line, "line 7")

    assert "secret" not in str(caught.value)
