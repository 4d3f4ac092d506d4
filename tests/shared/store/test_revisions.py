"""Revisions of a document's labels, the same in memory and in Redis: the later one stands, whole."""

from __future__ import annotations

import threading
from collections import Counter

import orjson
import redis

from shared.contracts.augmentation import LabelledDocument
from shared.store import RedisStore, Store
from tests.shared.store.labelled import D1, D1_CHANGED, D2, D3, Q1, Q2, queries_of
from tests.support.documents import label_of, revision_of


def test_a_worker_with_an_older_index_cannot_move_a_document_back(store: Store) -> None:
    store.accept([D1])
    assert store.write_labels("d1", revision_of(D1, Q1, index_version=2))

    assert not store.write_labels("d1", revision_of(D1, Q2, index_version=1))

    assert queries_of(store) == ["q1"]
    assert store.documents_of("q2") == []
    assert store.counts().labels == 1


def test_a_later_version_replaces_and_does_not_merge(store: Store) -> None:
    store.accept([D1])
    store.write_labels("d1", revision_of(D1, Q1, index_version=1, policy="p1"))

    assert store.write_labels("d1", revision_of(D1, Q2, index_version=2, policy="p1"))
    assert queries_of(store) == ["q2"]
    assert store.write_labels("d1", revision_of(D1, Q1, index_version=2, policy="p2"))

    assert queries_of(store) == ["q1"]
    assert store.documents_of("q2") == []
    assert store.counts().labels == 1


def test_a_version_written_twice_counts_once(store: Store) -> None:
    store.accept([D1])
    for _ in range(2):
        assert store.write_labels("d1", revision_of(D1, Q1, index_version=2**53 - 1))

    assert store.counts().labels == 1
    assert store.labels("d1").labels[0].provenance.index_version == 2**53 - 1


def test_new_content_is_labelled_even_by_an_older_index(store: Store) -> None:
    store.accept([D1])
    store.write_labels("d1", revision_of(D1, Q1, index_version=5))
    store.accept([D1_CHANGED])

    assert store.write_labels("d1", revision_of(D1_CHANGED, Q2, index_version=4))

    assert queries_of(store) == ["q2"]


def test_a_changed_document_replaces_its_own_labels_and_no_others(store: Store) -> None:
    store.accept([D1, D2])
    for document in (D1, D2):
        store.write_labels(document.id, revision_of(document, Q1, Q2))
    store.accept([D1_CHANGED])

    store.write_labels("d1", revision_of(D1_CHANGED, label_of("q3", 0.7)))

    assert queries_of(store, "d1") == ["q3"]
    assert queries_of(store, "d2") == ["q1", "q2"]
    assert [store.documents_of(each) for each in ("q1", "q2", "q3")] == [["d2"], ["d2"], ["d1"]]
    assert store.counts().labels == 3


def test_a_label_says_all_that_it_came_from(store: Store) -> None:
    store.accept([D1])
    label = label_of("q1", 0.9, probability=1 / 3)
    store.write_labels("d1", revision_of(D1, label, Q2, index_version=7, policy="p1"))

    first, second = (label.provenance for label in store.labels("d1").labels)

    assert (first.policy, first.index_version, first.agreement) == ("p1", 7, 2)
    assert (first.probability, second.probability) == (1 / 3, None)
    assert [each.probability for each in store.iterate_labels()] == [1 / 3, None]


def test_labels_of_earlier_versions_are_read_and_replaced(
    redis_store: RedisStore, redis_client: redis.Redis
) -> None:
    """As SKIM wrote them before there were versions, key by key."""
    redis_store.accept([D1])
    old = revision_of(D1).name
    made_by = {"synthetic_queries": ["reed"], "generator": "slm-1", "encoder": "encoder-1"}
    redis_client.hset(
        f"skim:1:provenance:d1:{old}",
        mapping={
            "@": orjson.dumps({**made_by, "min_similarity": 0.6}),
            "@at": 1,
            "q1": orjson.dumps(["text of q1", "reed", 3]),
        },
    )
    redis_client.zadd(f"skim:1:labels:d1:{old}", {"q1": 0.7})
    redis_client.sadd("skim:1:query:q1", "d1")
    redis_client.hset("skim:1:document:d1", "revision", old)
    redis_client.hincrby("skim:1:totals", "labels", 1)

    [label] = redis_store.labels("d1").labels
    why = label.provenance
    assert (why.rank, why.agreement, why.probability) == (3, 1, None)
    assert (why.policy, why.index_version) == ("", 0)
    assert [each.probability for each in redis_store.iterate_labels()] == [None]

    assert redis_store.write_labels("d1", revision_of(D1, Q2, index_version=1))
    assert queries_of(redis_store) == ["q2"]
    assert redis_store.counts().labels == 1


def test_a_train_querys_documents_are_given_best_first(store: Store) -> None:
    store.accept([D1, D2, D3])
    for document, similarity in ((D1, 0.7), (D2, 0.9), (D3, 0.7)):
        store.write_labels(document.id, revision_of(document, label_of("q1", similarity)))

    found = store.labelled_with("q1", 2)

    assert found.total == 3
    assert found.documents == [
        LabelledDocument(document_id="d2", similarity=0.9),
        LabelledDocument(document_id="d1", similarity=0.7),
    ]
    assert store.labelled_with("q9", 2).total == 0


def test_a_reader_sees_one_revision_and_never_a_mixture(redis_store: RedisStore) -> None:
    redis_store.accept([D1])
    sets = [{f"q{version}-{number}" for number in range(20)} for version in range(2)]

    def write(version: int) -> None:
        labels = [label_of(each, 0.9) for each in sets[version % 2]]
        redis_store.write_labels("d1", revision_of(D1, *labels, index_version=version))

    write(0)
    seen: Counter[bool] = Counter()
    mixtures: list[set[str]] = []
    is_over = threading.Event()

    def read() -> None:
        while not is_over.is_set():
            for found in (
                set(queries_of(redis_store)),
                {each.query_id for each in redis_store.iterate_labels()},
            ):
                seen[found == sets[0]] += 1
                if found not in sets:
                    mixtures.append(found)

    reader = threading.Thread(target=read)
    reader.start()
    for version in range(1, 20_000):
        write(version)
        if version > 200 and min(seen[True], seen[False]) > 20:
            break
    is_over.set()
    reader.join()

    assert mixtures == []
    assert min(seen[True], seen[False]) > 20
