"""How documents are handed in, the same in memory and in Redis: keys, and what is unchanged."""

from __future__ import annotations

import pytest
import redis

from shared.contracts.augmentation import JobState
from shared.contracts.document import Document
from shared.contracts.synthetic_queries import WrittenQueries
from shared.errors import Full, InFlight, InvalidInput, NotFound
from shared.store import RedisStore, Store
from shared.store.intake import (
    Incoming,
    Key,
)
from tests.shared.store.uploading import D1, D1_CHANGED, D2, KEY, incoming, label, upload


def test_a_key_that_comes_again_gets_the_first_answer_and_does_nothing(store: Store) -> None:
    first = store.accept_request(incoming(D1, D2), KEY)
    store.finish_document(first.job.id, "d1", labels=3)

    again = store.accept_request(incoming(D1, D2), KEY)

    assert (again.job, again.unchanged) == (first.job, first.unchanged)
    assert (first.is_replay, again.is_replay) == (False, True)
    assert store.counts().accepted == 2


def test_a_key_that_comes_with_another_body_is_refused_and_nothing_is_kept(store: Store) -> None:
    store.accept_request(incoming(D1), KEY)

    with pytest.raises(InvalidInput, match="another body"):
        store.accept_request(incoming(D2), Key("k1", "another digest", 60))

    with pytest.raises(NotFound):
        store.document("d2")


def test_a_key_is_forgotten_in_time(store: Store) -> None:
    first = store.accept_request(incoming(D1), Key("k1", "digest", 0))

    second = store.accept_request(incoming(D1), Key("k1", "another digest", 0))

    assert second.job.id != first.job.id
    assert not second.is_replay


def test_a_key_whose_upload_is_under_way_is_in_flight(store: Store) -> None:
    upload(store, D1, key="k1")

    with pytest.raises(InFlight):
        store.accept_request(incoming(D1), KEY)


def test_queries_written_before_are_kept_in_the_same_step(store: Store) -> None:
    written = WrittenQueries(queries=["double reed"])

    store.accept_request([Incoming(D1, "slm-1", written), Incoming(D2)], None)

    assert store.synthetic_queries(D1, "slm-1") == written
    assert store.synthetic_queries(D2, "slm-1") is None


def test_a_full_redis_keeps_no_key_so_that_the_request_may_come_again(
    redis_store: RedisStore, redis_client: redis.Redis
) -> None:
    redis_store.check()
    redis_client.config_set("maxmemory", "1")
    try:
        with pytest.raises(Full):
            redis_store.accept_request(incoming(D1), KEY)
    finally:
        redis_client.config_set("maxmemory", "0")

    assert redis_client.keys() == ["skim:layout"]
    assert not redis_store.accept_request(incoming(D1), KEY).is_replay


def test_what_the_current_generator_labelled_costs_nothing_again(store: Store) -> None:
    label(store, D1)
    store.note_generator("slm-1")

    accepted = store.accept_request(incoming(D1, D2), None)

    assert accepted.unchanged == {0}
    assert (accepted.job.documents, accepted.job.unchanged, accepted.job.done) == (2, 1, 1)
    assert accepted.job.state is JobState.ACCEPTED
    assert store.lease(accepted.job.id, ["d1", "d2"], 60) == ["d2"]


def test_a_job_of_nothing_but_unchanged_documents_is_done_at_once(store: Store) -> None:
    label(store, D1)
    store.note_generator("slm-1")
    before = store.counts().done

    job = store.accept([D1])

    assert (job.state, job.done) == (JobState.DONE, 1)
    assert job.finished_at is not None
    assert store.job(job.id).state is JobState.DONE
    assert store.counts().done == before + 1


@pytest.mark.parametrize(
    ("posted", "serving"),
    [(D1_CHANGED, "slm-1"), (D1, "slm-2"), (D1, None)],
    ids=["other content", "another generator", "no generator known"],
)
def test_what_would_get_other_labels_is_not_unchanged(
    store: Store, posted: Document, serving: str | None
) -> None:
    label(store, D1)
    if serving is not None:
        store.note_generator(serving)

    accepted = store.accept_request(incoming(posted), None)

    assert accepted.unchanged == frozenset()
    assert store.lease(accepted.job.id, ["d1"], 60) == ["d1"]


def test_a_document_that_waits_for_labels_of_other_content_is_not_unchanged(store: Store) -> None:
    label(store, D1)
    store.note_generator("slm-1")
    store.accept([D1_CHANGED])

    assert store.accept([D1]).unchanged == 0
