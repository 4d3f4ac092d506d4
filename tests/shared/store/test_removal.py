"""Documents and train queries that are removed take their labels with them, the same in memory and in Redis."""

from __future__ import annotations

import pytest
import redis

from shared.contracts.augmentation import JobState
from shared.contracts.synthetic_queries import WrittenQueries
from shared.errors import NotFound
from shared.store import RedisStore, Store
from tests.shared.store.labelled import D1, D2, D3, Q1, Q2, follow, queries_of
from tests.support.documents import document_of, label_of, revision_of


def test_a_removed_document_takes_everything_with_it(store: Store) -> None:
    store.accept([D1, D2])
    store.put_synthetic_queries(D1, "slm-1", WrittenQueries(queries=["reed"]))
    for document in (D1, D2):
        store.write_labels(document.id, revision_of(document, Q1))

    assert store.remove_documents(["d1", "d9", "d1"]) == ["d1"]

    for read in (store.document, store.labels):
        with pytest.raises(NotFound):
            read("d1")
    assert store.synthetic_queries(D1, "slm-1") is None
    assert store.documents_of("q1") == ["d2"]
    assert [each.document_id for each in store.iterate_labels()] == ["d2"]
    counts = store.counts()
    assert (counts.documents, counts.labels) == (1, 1)


def test_nothing_of_a_removed_document_is_left_in_redis(
    redis_store: RedisStore, redis_client: redis.Redis
) -> None:
    redis_store.accept([D1])
    redis_store.put_synthetic_queries(D1, "slm-1", WrittenQueries(queries=["reed"]))
    follow(redis_store, 2)
    label = label_of("q1", 0.9, probability=0.5)
    redis_store.write_labels("d1", revision_of(D1, label, index_version=1))

    redis_store.remove_documents(["d1"])

    patterns = ("*:d1", "*:d1:*", "skim:1:query:*")  # a job's id may begin with d1
    assert [each for pattern in patterns for each in redis_client.keys(pattern)] == []
    assert not redis_client.exists("skim:1:documents", "skim:1:behind")


def test_a_worker_in_the_middle_of_a_removed_document_does_not_bring_it_back(store: Store) -> None:
    job = store.accept([D1])
    store.lease(job.id, ["d1"], 60)
    store.remove_documents(["d1"])

    store.put_synthetic_queries(D1, "slm-1", WrittenQueries(queries=["reed"]))
    assert not store.write_labels("d1", revision_of(D1, Q1))
    store.finish_document(job.id, "d1")

    assert store.job(job.id).state is JobState.DONE
    assert store.counts().documents == 0
    assert store.documents_of("q1") == []
    assert store.synthetic_queries(D1, "slm-1") is None


def test_a_job_ends_without_the_documents_that_were_removed(store: Store) -> None:
    job = store.accept([D1, D2])
    store.remove_documents(["d1"])
    assert store.abandoned(10) == {job.id: ["d1", "d2"]}

    assert store.lease(job.id, ["d1", "d2"], 60) == ["d2"]
    assert store.job(job.id).done == 1
    store.finish_document(job.id, "d2", labels=1)

    ended = store.job(job.id)
    assert (ended.state, ended.done, ended.labels, ended.errors) == (JobState.DONE, 2, 1, {})


def test_a_removed_train_query_takes_its_labels_with_it(store: Store) -> None:
    documents = [document_of(f"d{number:03}") for number in range(450)]
    store.accept(documents)
    for document in documents:
        store.write_labels(document.id, revision_of(document, Q1, Q2, index_version=1))

    assert store.remove_labels_of(["q1", "q9"], 2) == 450

    assert store.documents_of("q1") == []
    assert queries_of(store, "d007") == ["q2"]
    assert store.counts().labels == 450
    assert {each.query_id for each in store.iterate_labels()} == {"q2"}
    assert store.remove_labels_of(["q1"], 2) == 0


def test_labels_that_know_of_the_removal_stay(store: Store) -> None:
    """The train query is back with another text, and the document was mapped to that."""
    store.accept([D1])
    store.write_labels("d1", revision_of(D1, Q1, index_version=2))

    assert store.remove_labels_of(["q1"], 2) == 0
    assert queries_of(store) == ["q1"]


def test_a_worker_that_mapped_before_the_removal_writes_no_removed_label(store: Store) -> None:
    store.accept([D1])
    store.remove_labels_of(["q1"], 2)

    assert store.write_labels("d1", revision_of(D1, Q1, Q2, index_version=1))

    assert queries_of(store) == ["q2"]
    assert store.documents_of("q1") == []
    assert store.counts().labels == 1
    assert store.write_labels("d1", revision_of(D1, Q1, Q2, index_version=2))
    assert queries_of(store) == ["q1", "q2"]


def test_documents_that_lost_a_label_are_behind(store: Store) -> None:
    store.accept([D1, D2, D3])
    store.write_labels("d1", revision_of(D1, Q1, index_version=1, policy="p1"))
    store.write_labels("d2", revision_of(D2, Q2, index_version=1, policy="p1"))
    store.remove_labels_of(["q1"], 2)
    store.write_labels("d3", revision_of(D3, Q1, index_version=1, policy="p1"))
    follow(store, 2)

    found = store.remap_behind(10)

    assert found is not None
    assert found[1] == ["d1", "d3"]
