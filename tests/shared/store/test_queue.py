import pytest

from shared.contracts.augmentation import JobState
from shared.store import Store
from tests.support.documents import document_of

D1, D2 = document_of("d1"), document_of("d2")


def test_a_queue_where_nothing_waits_has_no_age(store: Store) -> None:
    job = store.accept([D1])
    store.finish_document(job.id, "d1")

    queue = store.queue()

    assert store.job(job.id).state is JobState.DONE
    assert (queue.oldest_seconds, queue.leased, queue.overdue_seconds) == (0, 0, 0)


def test_the_queue_is_as_old_as_the_oldest_job_with_waiting_documents(store: Store) -> None:
    first = store.accept([D1])
    second = store.accept([D1, D2])
    store.lease(first.id, ["d1"], 60)
    before = store.queue().oldest_seconds
    store.finish_document(first.id, "d1")

    after = store.queue().oldest_seconds

    gap = (second.accepted_at - first.accepted_at).total_seconds()
    assert before >= gap
    assert 0 < after < before + 60


def test_leased_documents_are_counted_until_their_lease_runs_out(store: Store) -> None:
    job = store.accept([D1, D2])
    store.lease(job.id, ["d1", "d2"], 60)
    assert (store.queue().leased, store.queue().overdue_seconds) == (2, 0)

    store.lease(job.id, ["d1"], -30)

    assert store.queue().leased == 1
    assert store.queue().overdue_seconds == pytest.approx(30, abs=5)


def test_documents_that_were_never_leased_are_not_overdue(store: Store) -> None:
    store.accept([D1])

    assert store.queue().overdue_seconds == 0
    assert store.queue().oldest_seconds > 0


def test_all_leases_are_counted_where_only_some_ages_are_looked_up(store: Store) -> None:
    documents = [document_of(f"d{number}") for number in range(1_200)]
    job = store.accept(documents)
    store.lease(job.id, [document.id for document in documents], 60)

    assert store.queue().leased == 1_200
    assert store.queue().oldest_seconds > 0
