"""How documents are handed in, the same in memory and in Redis."""

from collections.abc import Sequence

import pytest
import redis

from shared.contracts.augmentation import Counts, Job, JobState, Refusal
from shared.contracts.document import Document
from shared.contracts.synthetic_queries import WrittenQueries
from shared.errors import Conflict, Full, InFlight, InvalidInput, NotFound
from shared.store import RedisStore, Remap, Store
from shared.store.intake import (
    MAX_ERRORS,
    MAX_REFUSALS,
    Chunk,
    Hold,
    Incoming,
    Key,
    Position,
    SealedUpload,
)
from tests.support.documents import document_of, label_of, revision_of

D1, D2, D3 = (document_of(document_id) for document_id in ("d1", "d2", "d3"))
D1_CHANGED = document_of("d1", "played with two reeds")
KEY = Key("k1", "digest of the body", 60)
MINE, YOURS = Hold("me", 60, 600), Hold("you", 60, 600)
OVER = Hold("me", 0, 0)
"""A hold that is over as soon as it is taken."""


def incoming(*documents: Document) -> list[Incoming]:
    return [Incoming(each) for each in documents]


def position(lines: int) -> Position:
    return Position(lines * 10, lines, f"digest of {lines}")


def chunk_of(
    documents: Sequence[Document], *, after: int = 0, refusals: Sequence[Refusal] = ()
) -> Chunk:
    """Return a chunk of a line of ten bytes a document, and some that are refused after them."""
    rows = [(after + at, Incoming(each)) for at, each in enumerate(documents, start=1)]
    to = position(after + len(documents) + len(refusals))
    return Chunk(after * 10, to, rows, len(refusals), refusals)


def upload(
    store: Store, *documents: Document, key: str | None = None, hold: Hold = MINE
) -> tuple[str, Position]:
    """Open an upload and stage one chunk."""
    job_id = store.open_upload(key, hold).job_id
    chunk = chunk_of(documents)
    store.stage(job_id, hold, chunk)
    return job_id, chunk.to


def sealed(store: Store, *documents: Document, key: str | None = None) -> str:
    job_id, to = upload(store, *documents, key=key)
    assert store.seal(job_id, MINE, to, remember_seconds=60)
    return job_id


def label(store: Store, document: Document, generator: str = "slm-1") -> None:
    """Have a document labelled by a generator."""
    store.accept([document])
    store.write_labels(
        document.id, revision_of(document, label_of("q1", 0.9), generator=generator)
    )


# Keys


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


# Unchanged documents


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


# Uploads


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


# Who holds an upload


def test_an_upload_in_anothers_hands_is_in_flight(store: Store) -> None:
    upload(store, D1, key="k1")

    with pytest.raises(InFlight) as caught:
        store.open_upload("k1", YOURS)

    assert 1 <= caught.value.retry_after_seconds <= 61


@pytest.mark.parametrize("is_released", [True, False], ids=["released", "hold over"])
def test_an_upload_goes_on_in_other_hands_where_it_was(store: Store, is_released: bool) -> None:
    job_id, to = upload(store, D1, key="k1", hold=MINE if is_released else Hold("me", 0, 600))
    if is_released:
        store.release_upload(job_id, MINE)

    found = store.open_upload("k1", YOURS)

    assert (found.job_id, found.at) == (job_id, to)
    rest = chunk_of([D2, D1], after=1)
    store.stage(job_id, YOURS, rest)
    assert store.seal(job_id, YOURS, rest.to, remember_seconds=60)
    assert (store.job(job_id).documents, store.job(job_id).refused) == (2, 1)


def test_whoever_lost_an_upload_can_do_nothing_to_it(store: Store) -> None:
    job_id, to = upload(store, D1, key="k1")
    store.release_upload(job_id, MINE)
    store.open_upload("k1", YOURS)

    with pytest.raises(Conflict):
        store.stage(job_id, MINE, chunk_of([D2], after=1))
    with pytest.raises(Conflict):
        store.seal(job_id, MINE, to, remember_seconds=60)
    store.drop_upload(job_id, MINE)
    store.release_upload(job_id, MINE)

    assert store.seal(job_id, YOURS, to, remember_seconds=60)


def test_a_sealed_upload_is_known_by_its_key(store: Store) -> None:
    job_id = sealed(store, D1, key="k1")

    assert store.open_upload("k1", YOURS) == SealedUpload(job_id, "digest of 1")
    assert store.accepted(job_id).state is JobState.ACCEPTED


@pytest.mark.parametrize("how", ["dropped", "released without a key", "expired"])
def test_an_upload_that_nobody_goes_on_with_leaves_nothing_behind(
    store: Store, how: str, request: pytest.FixtureRequest
) -> None:
    key = None if how == "released without a key" else "k1"
    job_id, _ = upload(store, D1, key=key, hold=OVER if how == "expired" else MINE)
    if how == "dropped":
        store.drop_upload(job_id, MINE)
    elif how == "expired":
        assert store.drop_expired_uploads(10) == 1
    else:
        store.release_upload(job_id, MINE)

    with pytest.raises(Conflict):
        store.stage(job_id, MINE, chunk_of([D2], after=1))
    assert not store.accept_request(incoming(D1), KEY).is_replay
    if isinstance(store, RedisStore):
        client = request.getfixturevalue("redis_client")
        assert client.keys("*upload*") == client.keys("*staged*") == []


def test_an_upload_that_may_be_resumed_is_not_dropped(store: Store) -> None:
    upload(store, D1, key="k1")
    sealed(store, D2, key="k2")

    assert store.drop_expired_uploads(10) == 0


def test_a_full_redis_still_lets_go_of_an_upload(
    redis_store: RedisStore, redis_client: redis.Redis
) -> None:
    job_id, _ = upload(redis_store, D1, key="k1")
    redis_client.config_set("maxmemory", "1")
    try:
        with pytest.raises(Full):
            redis_store.stage(job_id, MINE, chunk_of([D2], after=1))
        redis_store.drop_upload(job_id, MINE)
    finally:
        redis_client.config_set("maxmemory", "0")

    assert redis_client.keys() == ["skim:layout"]


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


# Cancelled jobs


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


# Pages of jobs


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
