"""Jobs, the same in memory and in Redis: cancelled, listed page by page."""

from __future__ import annotations

import pytest

from shared.contracts.augmentation import Job, JobState
from shared.errors import Conflict, InvalidInput, NotFound
from shared.store import Remap, Store
from shared.store.intake import MAX_ERRORS
from tests.shared.store.uploading import D1, D2, D3, sealed
from tests.support.documents import document_of


def test_of_a_job_with_very_many_failures_some_are_shown_and_all_are_counted(
    store: Store,
) -> None:
    ids = [f"d{number}" for number in range(3 * MAX_ERRORS)]
    job = store.accept([document_of(each) for each in ids])
    for each in ids:
        store.finish_document(job.id, each, error="too strange")

    found = store.job(job.id)

    assert found.failed == len(ids)
    assert MAX_ERRORS <= len(found.errors) < 1.1 * MAX_ERRORS


def test_nothing_that_waits_of_a_cancelled_job_is_worked_on(store: Store) -> None:
    job = store.accept([D1, D2, D3])
    store.finish_document(job.id, "d1", labels=1)

    cancelled = store.cancel(job.id)

    assert (cancelled.state, cancelled.done, cancelled.cancelled) == (JobState.CANCELLED, 1, 2)
    assert cancelled.finished_at is not None
    assert store.lease(job.id, ["d2", "d3"], 60) == []
    assert store.job(job.id) == cancelled
    counts = store.counts()
    assert (counts.accepted, counts.waiting, counts.done, counts.cancelled) == (3, 0, 1, 2)
    assert counts.jobs == {JobState.CANCELLED: 1}


def test_what_a_worker_has_in_hand_of_a_cancelled_job_is_finished(store: Store) -> None:
    job = store.accept([D1, D2])
    store.lease(job.id, ["d1"], 60)
    store.cancel(job.id)

    store.finish_document(job.id, "d1", labels=4)

    found = store.job(job.id)
    assert (found.state, found.done, found.cancelled, found.labels) == (
        JobState.CANCELLED,
        1,
        1,
        4,
    )
    counts = store.counts()
    assert (counts.waiting, counts.done, counts.cancelled) == (0, 1, 1)


def test_the_staged_documents_of_a_cancelled_upload_are_never_taken_in(store: Store) -> None:
    job_id = sealed(store, D1, D2)
    store.take_in(job_id, 1)

    store.cancel(job_id)

    assert store.take_in(job_id, 10) == ([], True)
    assert store.sealed_uploads() == []
    assert (store.job(job_id).cancelled, store.counts().waiting) == (2, 0)


def test_a_job_that_is_over_stays_as_it_is_when_it_is_cancelled(store: Store) -> None:
    job = store.accept([D1])
    store.finish_document(job.id, "d1")
    before = store.job(job.id)

    assert store.cancel(job.id) == before
    assert store.counts().cancelled == 0


def test_cancelling_twice_changes_nothing(store: Store) -> None:
    job = store.accept([D1])

    assert store.cancel(job.id) == store.cancel(job.id)
    assert store.counts().cancelled == 1


def test_a_remap_is_not_cancelled_and_an_unknown_job_is_not_found(store: Store) -> None:
    remap: Job = store.begin_remap(Remap())

    with pytest.raises(Conflict, match="remap"):
        store.cancel(remap.id)
    with pytest.raises(NotFound, match="'x'"):
        store.cancel("x")


def test_jobs_are_listed_page_by_page_while_new_ones_come(store: Store) -> None:
    jobs = [store.accept([D1]).id for _ in range(5)]

    first, cursor = store.jobs(2)
    store.accept([D1])
    second, cursor = store.jobs(2, cursor)
    third, end = store.jobs(2, cursor)

    listed = [[job.id for job in page] for page in (first, second, third)]
    assert listed == [[jobs[4], jobs[3]], [jobs[2], jobs[1]], [jobs[0]]]
    assert end is None


def test_a_page_that_ends_with_the_last_job_has_no_next(store: Store) -> None:
    store.accept([D1])

    assert store.jobs(1)[1] is None


def test_a_cursor_of_a_job_that_is_gone_leads_on_by_its_time(store: Store) -> None:
    old, new = store.accept([D1]), store.accept([D1])
    microseconds = round(new.accepted_at.timestamp() * 1e6)

    jobs, _ = store.jobs(9, f"{microseconds}-gone")

    assert [job.id for job in jobs] == [old.id]


@pytest.mark.parametrize("cursor", ["x", "-", "\u0661-a", f"{10**17}-a", "-1-a"])
def test_a_cursor_that_is_none_of_ours_is_invalid(store: Store, cursor: str) -> None:
    with pytest.raises(InvalidInput, match="cursor"):
        store.jobs(9, cursor)
