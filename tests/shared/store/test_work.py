"""Who works on what, how often it was tried, and what becomes of it: the same in memory and in Redis."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from shared.contracts.augmentation import JobState
from shared.store import MAX_TRIES, MemoryStore, Store, keys
from tests.support.documents import document_of

D1, D2, D3 = (document_of(document_id) for document_id in ("d1", "d2", "d3"))
Pass = Callable[[float], None]


@pytest.fixture(params=["memory", "redis"])
def clocked(request: pytest.FixtureRequest) -> tuple[Store, Pass]:
    """A store, and what lets so many seconds pass on its clock (negative: puts it back)."""
    if request.param == "memory":
        late = [0.0]

        def sleep(seconds: float) -> None:
            late[0] += seconds

        return MemoryStore(lambda: datetime.now(UTC) + timedelta(seconds=late[0])), sleep
    client = request.getfixturevalue("redis_client")

    def shift(seconds: float) -> None:
        waiting: Any = client.zrange(keys.WAITING, 0, -1, withscores=True)
        for entry, ends in waiting:
            client.zadd(keys.WAITING, {entry: ends - seconds * 1e6})

    return request.getfixturevalue("redis_store"), shift


@pytest.fixture
def store(clocked: tuple[Store, Pass]) -> Store:
    return clocked[0]


@pytest.fixture
def let_pass(clocked: tuple[Store, Pass]) -> Pass:
    return clocked[1]


def die_alone(store: Store, job_id: str, document_id: str, times: int) -> None:
    """Begin a document's try as often, and never end it."""
    for _ in range(times):
        store.take(job_id, [document_id], "w", 60)


def test_what_is_taken_is_in_nobody_elses_hands(store: Store) -> None:
    job = store.accept([D1, D2])

    assert store.take(job.id, ["d1", "d2", "d9"], "one", 60).document_ids == ["d1", "d2"]

    taken = store.take(job.id, ["d1", "d2"], "other", 60)
    assert (taken.document_ids, taken.apart) == ([], [])
    assert store.abandoned(9) == {}


def test_what_is_finished_or_removed_is_not_taken(store: Store) -> None:
    job = store.accept([D1, D2, D3])
    store.finish_document(job.id, "d1")
    store.remove_documents(["d2"])

    assert store.take(job.id, ["d1", "d2", "d3"], "one", 60).document_ids == ["d3"]
    assert store.job(job.id).done == 2


def test_a_batch_that_died_is_tried_apart_and_its_neighbours_are_not_to_blame(
    store: Store, let_pass: Pass
) -> None:
    job = store.accept([D1, D2])
    store.take(job.id, ["d1", "d2"], "one", 60)
    let_pass(61)

    taken = store.take(job.id, ["d1", "d2"], "other", 60)

    assert (list(taken.document_ids), list(taken.apart)) == ([], ["d1", "d2"])
    for each in ("d1", "d2"):
        assert store.take(job.id, [each], "other", 60).document_ids == [each]
        store.finish_document(job.id, each)
    assert store.job(job.id).state is JobState.DONE


def test_a_message_that_comes_again_takes_over_from_its_dead_worker_at_once(store: Store) -> None:
    job = store.accept([D1, D2])
    store.take(job.id, ["d1", "d2"], "same message", 60)

    assert list(store.take(job.id, ["d1", "d2"], "same message", 60).apart) == ["d1", "d2"]


def test_new_documents_are_worked_on_together_while_suspects_wait_apart(store: Store) -> None:
    job = store.accept([D1, D2, D3])
    die_alone(store, job.id, "d1", 1)

    taken = store.take(job.id, ["d1", "d2", "d3"], "w", 60)

    assert (list(taken.document_ids), list(taken.apart)) == (["d2", "d3"], ["d1"])


def test_a_document_that_dies_alone_three_times_is_a_dead_letter_with_its_reason(
    store: Store,
) -> None:
    job = store.accept([D1, D2])
    store.finish_document(job.id, "d2")

    die_alone(store, job.id, "d1", MAX_TRIES)
    assert store.job(job.id).failed == 0

    assert store.take(job.id, ["d1"], "w", 60).document_ids == []
    [dead] = store.dead_letters(10).dead_letters
    assert (dead.document_id, dead.job_id, dead.tries) == ("d1", job.id, 3)
    assert "the worker was killed" in dead.reason
    assert store.job(job.id).state is JobState.PARTIAL
    assert store.job(job.id).errors == {"d1": dead.reason}
    assert store.counts().dead_letters == 1


def test_a_try_that_ended_in_good_order_does_not_count(store: Store) -> None:
    job = store.accept([D1])

    for _ in range(5):
        assert store.take(job.id, ["d1"], "w", 60).document_ids == ["d1"]
        store.hand_back(job.id, ["d1"], "w", 0)

    assert store.abandoned(9) == {job.id: ["d1"]}


def test_a_batch_handed_back_stays_a_batch(store: Store) -> None:
    job = store.accept([D1, D2])
    store.take(job.id, ["d1", "d2"], "w", 60)
    store.hand_back(job.id, ["d1", "d2"], "w", 60)

    assert store.abandoned(9) == {}
    assert store.take(job.id, ["d1", "d2"], "x", 60).document_ids == ["d1", "d2"]


def test_a_failed_try_counts_and_the_last_ones_reason_stays(store: Store) -> None:
    job = store.accept([D1, D2])
    store.take(job.id, ["d1", "d2"], "w", 60)
    assert list(store.blame(job.id, ["d1", "d2"], "w", 60, "too slow")) == ["d1", "d2"]
    for reason in ("too slow", "too slow"):
        store.take(job.id, ["d1"], "w", 60)
        assert list(store.blame(job.id, ["d1"], "w", 60, reason)) == ["d1"]
    store.take(job.id, ["d1"], "w", 60)

    assert list(store.blame(job.id, ["d1"], "w", 60, "much too slow")) == []

    assert [each.reason for each in store.dead_letters(9).dead_letters] == ["much too slow"]
    assert store.job(job.id).errors == {"d1": "much too slow"}


def test_only_the_owner_lets_go(store: Store) -> None:
    job = store.accept([D1])
    store.take(job.id, ["d1"], "one", 60)

    store.hand_back(job.id, ["d1"], "other", 0)
    store.renew(job.id, ["d1"], "other", 0)
    assert list(store.blame(job.id, ["d1"], "other", 0, "no")) == []

    assert store.abandoned(9) == {}
    assert store.take(job.id, ["d1"], "other", 60).document_ids == []


def test_a_worker_keeps_what_it_renews(store: Store, let_pass: Pass) -> None:
    job = store.accept([D1])
    store.take(job.id, ["d1"], "w", 60)
    for _ in range(3):
        let_pass(40)
        store.renew(job.id, ["d1"], "w", 60)

    assert store.claim(9, 60, 600) == {}


def test_a_queued_document_in_a_workers_hands_keeps_the_workers_lease(
    store: Store, let_pass: Pass
) -> None:
    job = store.accept([D1])
    store.take(job.id, ["d1"], "w", 60)
    store.lease(job.id, ["d1"], 600)
    let_pass(61)

    assert store.claim(9, 60, 600) == {job.id: ["d1"]}


def test_two_claims_never_have_the_same_document(store: Store) -> None:
    job = store.accept([D1, D2, D3])

    first, second, third = (store.claim(2, 60, 600) for _ in range(3))

    assert sorted([*first[job.id], *second[job.id]]) == ["d1", "d2", "d3"]
    assert third == {}


def test_what_a_dead_worker_had_is_claimed_and_then_taken_by_another(
    store: Store, let_pass: Pass
) -> None:
    job = store.accept([D1])
    store.take(job.id, ["d1"], "dead", 60)
    let_pass(61)
    store.claim(9, 60, 600)

    assert store.take(job.id, ["d1"], "alive", 60).document_ids == ["d1"]


@pytest.mark.parametrize("jump", [3_600, -3_600])
def test_a_jump_of_the_clock_leaves_nothing_behind(
    store: Store, let_pass: Pass, jump: float
) -> None:
    job = store.accept([D1, D2])
    store.lease(job.id, ["d1"], 60)
    store.take(job.id, ["d2"], "w", 60)
    let_pass(jump)

    assert store.claim(9, 60, 120) == {job.id: ["d1", "d2"]}
    for each in ("d1", "d2"):
        assert store.take(job.id, [each], "x", 60).document_ids == [each]


def test_a_refused_document_is_a_dead_letter_too(store: Store) -> None:
    job = store.accept([D1])

    store.finish_document(job.id, "d1", error="not a document")

    [dead] = store.dead_letters(9).dead_letters
    assert (dead.reason, dead.tries) == ("not a document", 1)


def test_dead_letters_are_read_page_by_page(store: Store) -> None:
    documents = [document_of(f"d{number}") for number in range(5)]
    job = store.accept(documents)
    for each in documents:
        store.finish_document(job.id, each.id, error="no")

    pages, after = [], ""
    while True:
        page = store.dead_letters(2, after)
        pages.append([each.document_id for each in page.dead_letters])
        store.purge(pages[-1][:1])  # a page that is worked off leaves the next where it was
        if page.next_cursor is None:
            break
        after = page.next_cursor

    assert pages == [["d0", "d1"], ["d2", "d3"], ["d4"]]


def test_a_replay_accepts_dead_documents_anew(store: Store) -> None:
    job = store.accept([D1, D2, D3])
    for each in ("d1", "d2", "d3"):
        store.finish_document(job.id, each, error="no")

    assert store.replay(["d9"], 10) is None
    replayed = store.replay(["d2", "d9"], 10)
    others = store.replay([], 10)

    assert replayed is not None
    assert others is not None
    assert (replayed[0].documents, list(replayed[1])) == (1, ["d2"])
    assert list(others[1]) == ["d1", "d3"]
    assert store.counts().dead_letters == 0
    assert store.take(replayed[0].id, ["d2"], "w", 60).document_ids == ["d2"]
    store.finish_document(replayed[0].id, "d2")
    assert store.job(replayed[0].id).state is JobState.DONE


def test_a_replayed_document_has_all_its_tries_again(store: Store) -> None:
    job = store.accept([D1])
    die_alone(store, job.id, "d1", MAX_TRIES + 1)
    replayed = store.replay([], 10)
    assert replayed is not None

    die_alone(store, replayed[0].id, "d1", MAX_TRIES)

    assert store.job(replayed[0].id).failed == 0


def test_purged_removed_or_accepted_again_it_is_no_dead_letter(store: Store) -> None:
    for forget in (
        lambda: store.purge(["d1"]),
        lambda: store.purge([]),
        lambda: store.remove_documents(["d1"]),
        lambda: store.accept([D1]),
    ):
        job = store.accept([D1])
        store.finish_document(job.id, "d1", error="no")
        assert store.counts().dead_letters == 1

        forget()

        assert store.dead_letters(9).total == 0


def test_a_purge_leaves_the_document(store: Store) -> None:
    job = store.accept([D1])
    store.finish_document(job.id, "d1", error="no")

    assert store.purge([]) == 1

    assert store.document("d1") == D1
    assert store.job(job.id).errors == {"d1": "no"}
