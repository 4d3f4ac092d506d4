"""Uploads, the same in memory and in Redis: staged in chunks, sealed, taken in."""

from __future__ import annotations

import pytest
import redis

from shared.contracts.augmentation import Counts, JobState, Refusal
from shared.contracts.synthetic_queries import WrittenQueries
from shared.errors import Conflict, NotFound
from shared.store import RedisStore, Store
from shared.store.intake import (
    MAX_REFUSALS,
    Chunk,
    Incoming,
    Position,
)
from tests.shared.store.uploading import (
    D1,
    D1_CHANGED,
    D2,
    D3,
    MINE,
    YOURS,
    chunk_of,
    label,
    position,
    sealed,
    upload,
)


def test_an_upload_that_is_not_sealed_is_neither_seen_nor_worked_on(store: Store) -> None:
    job_id, _ = upload(store, D1)

    assert store.counts() == Counts(labels=0, accepted=0, waiting=0, done=0, failed=0)
    assert store.abandoned(10) == {}
    assert store.sealed_uploads() == []
    assert store.take_in(job_id, 10) == ([], True)
    for read, name in ((store.document, "d1"), (store.job, job_id)):
        with pytest.raises(NotFound):
            read(name)


def test_a_sealed_upload_is_a_job_whose_documents_are_taken_in(store: Store) -> None:
    job_id = sealed(store, D1, D2, D3)

    assert store.sealed_uploads() == [job_id]
    assert (store.job(job_id).state, store.job(job_id).documents) == (JobState.ACCEPTED, 3)
    assert store.counts().waiting == 3
    assert store.take_in(job_id, 2) == (["d1", "d2"], False)
    assert store.take_in(job_id, 2) == (["d3"], True)

    assert store.sealed_uploads() == []
    assert store.counts().waiting == 3
    assert store.abandoned(10) == {job_id: ["d1", "d2", "d3"]}
    assert store.document("d3") == D3


def test_a_job_is_not_over_while_documents_of_it_are_staged(store: Store) -> None:
    job_id = sealed(store, D1, D2)
    store.take_in(job_id, 1)

    store.finish_document(job_id, "d1")

    assert store.job(job_id).state is JobState.RUNNING


def test_a_chunk_that_comes_twice_is_staged_once(store: Store) -> None:
    job_id = store.open_upload(None, MINE).job_id
    chunk = chunk_of([D1], refusals=[Refusal(line=2, reason="no JSON")])

    for _ in range(2):
        store.stage(job_id, MINE, chunk)
    for _ in range(2):
        assert store.seal(job_id, MINE, chunk.to, remember_seconds=60)

    job = store.job(job_id)
    assert (job.documents, job.refused) == (1, 1)


def test_a_chunk_that_leaves_a_gap_is_a_conflict(store: Store) -> None:
    job_id = store.open_upload(None, MINE).job_id

    with pytest.raises(Conflict):
        store.stage(job_id, MINE, chunk_of([D1], after=7))


def test_refused_lines_are_listed_by_number_and_spare_their_neighbours(store: Store) -> None:
    job_id = store.open_upload(None, MINE).job_id
    chunk = chunk_of([D1, D2, D1_CHANGED], refusals=[Refusal(line=4, reason="no JSON")])
    store.stage(job_id, MINE, chunk)
    store.seal(job_id, MINE, chunk.to, remember_seconds=60)

    job = store.job(job_id)

    assert (job.documents, job.refused) == (2, 2)
    assert job.refusals == [
        Refusal(line=3, id="d1", reason="the id came before"),
        Refusal(line=4, reason="no JSON"),
    ]
    assert store.take_in(job_id, 10) == (["d1", "d2"], True)
    assert store.document("d1") == D1


def test_of_many_refused_lines_some_are_kept_and_all_are_counted(store: Store) -> None:
    job_id = store.open_upload(None, MINE).job_id
    bad = [Refusal(line=line, reason="no JSON") for line in range(2, MAX_REFUSALS + 9)]
    chunk = chunk_of([D1], refusals=bad)
    store.stage(job_id, MINE, chunk)
    store.seal(job_id, MINE, chunk.to, remember_seconds=60)

    job = store.job(job_id)

    assert job.refused == len(bad)
    assert [each.line for each in job.refusals] == [each.line for each in bad[:MAX_REFUSALS]]


def test_an_upload_without_a_document_is_dropped(store: Store) -> None:
    job_id = store.open_upload("k1", MINE).job_id
    chunk = chunk_of([], refusals=[Refusal(line=1, reason="no JSON")])
    store.stage(job_id, MINE, chunk)

    assert not store.seal(job_id, MINE, chunk.to, remember_seconds=60)

    assert store.open_upload("k1", YOURS).at == Position()


def test_unchanged_documents_of_an_upload_are_counted_and_not_staged(store: Store) -> None:
    label(store, D1)
    store.note_generator("slm-1")

    job_id = sealed(store, D1, D2)

    job = store.job(job_id)
    assert (job.documents, job.unchanged, job.done) == (2, 1, 1)
    assert store.take_in(job_id, 10) == (["d2"], True)


def test_an_upload_of_unchanged_documents_is_done_when_it_is_sealed(store: Store) -> None:
    label(store, D1)
    store.note_generator("slm-1")

    job_id = sealed(store, D1)

    assert store.job(job_id).state is JobState.DONE
    assert store.sealed_uploads() == []


def test_what_was_labelled_since_it_was_staged_is_done_when_it_is_taken_in(store: Store) -> None:
    job_id = sealed(store, D1)
    label(store, D1)
    store.note_generator("slm-1")

    assert store.take_in(job_id, 10) == ([], True)
    assert (store.job(job_id).state, store.job(job_id).unchanged) == (JobState.DONE, 0)


def test_queries_written_before_come_with_an_upload(store: Store) -> None:
    job_id = store.open_upload(None, MINE).job_id
    written = WrittenQueries(queries=["double reed"])
    chunk = Chunk(0, position(1), [(1, Incoming(D1, "slm-1", written))])
    store.stage(job_id, MINE, chunk)
    store.seal(job_id, MINE, chunk.to, remember_seconds=60)
    store.take_in(job_id, 10)

    assert store.synthetic_queries(D1, "slm-1") == written


def test_what_is_removed_while_it_is_staged_does_not_come_back(store: Store) -> None:
    store.accept([D2])
    job_id = sealed(store, D1, D2, D3)

    assert store.remove_documents(["d1", "d2"]) == ["d2"]
    taken = store.take_in(job_id, 9)

    assert taken == (["d3"], True)
    assert store.counts().documents == 1
    assert store.job(job_id).done == 2
    with pytest.raises(NotFound):
        store.document("d1")
    store.accept([D1])  # what is handed in later is there
    assert store.document("d1") == D1


def test_nothing_is_kept_of_removals_once_an_upload_is_taken_in(
    redis_store: RedisStore, redis_client: redis.Redis
) -> None:
    for end in (lambda job_id: redis_store.take_in(job_id, 9), redis_store.cancel):
        job_id = sealed(redis_store, D1, D2)
        redis_store.remove_documents(["d1"])
        end(job_id)

    assert redis_client.keys("skim:1:gone:*") == []
