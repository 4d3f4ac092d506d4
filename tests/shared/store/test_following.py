"""Labels follow the mapping's index and policy, the same in memory and in Redis."""

from __future__ import annotations

import pytest

from shared.contracts.augmentation import JobKind
from shared.store import Remap, Store
from shared.store.protocols import Followed
from tests.shared.store.labelled import D1, D2, Q1, Q2, follow, queries_of
from tests.support.documents import revision_of


def test_following_moves_on_and_begins_its_remap_in_one_step(store: Store) -> None:
    store.accept([D1])
    assert store.followed() is None

    assert follow(store, 1, remap=Remap(("q1",)))

    followed = store.followed()
    assert followed is not None
    assert (followed.version, followed.policy) == (1, "p1")
    assert store.opening() == [followed.job_id]
    assert store.remap_of(str(followed.job_id)) == Remap(("q1",))


def test_the_slower_of_two_followers_does_nothing(store: Store) -> None:
    store.accept([D1])
    follow(store, 1)
    seen = store.followed()
    assert store.follow(seen, 2, "p1", Remap())

    assert not store.follow(seen, 2, "p1", Remap())
    assert not store.follow(None, 2, "p1", Remap())

    assert len(store.opening()) == 1


def test_without_documents_there_is_nothing_to_remap(store: Store) -> None:
    assert follow(store, 1, remap=Remap())

    assert store.followed() == Followed(1, "p1")
    assert store.opening() == []


@pytest.mark.parametrize(
    ("version", "policy", "is_behind"),
    [(1, "p1", True), (2, "p2", True), (2, "p1", False), (3, "p1", True)],
)
def test_what_is_written_of_another_state_than_followed_is_behind(
    store: Store, version: int, policy: str, is_behind: bool
) -> None:
    store.accept([D1])
    follow(store, 2)

    assert store.write_labels("d1", revision_of(D1, Q1, index_version=version, policy=policy))

    found = store.remap_behind(10)
    assert (found is not None) == is_behind
    if found is not None:
        job = store.job(found[0])
        assert (found[1], job.kind, job.documents) == (["d1"], JobKind.REMAP, 1)
        assert store.lease(job.id, ["d1"], 60) == ["d1"]
        assert store.remap_behind(10) is None


def test_who_caught_up_meanwhile_is_not_behind(store: Store) -> None:
    store.accept([D1, D2])
    follow(store, 2)
    for document in (D1, D2):
        store.write_labels(document.id, revision_of(document, Q1, index_version=1, policy="p1"))
    store.write_labels("d1", revision_of(D1, Q1, index_version=2, policy="p1"))

    assert store.remap_behind(1) is None
    found = store.remap_behind(1)

    assert found is not None
    assert found[1] == ["d2"]


def test_an_index_put_back_is_followed_back(store: Store) -> None:
    store.accept([D1])
    follow(store, 9)
    store.remove_labels_of(["q1"], 9)
    store.write_labels("d1", revision_of(D1, Q2, index_version=9, policy="p1"))

    follow(store, 4)

    assert store.write_labels("d1", revision_of(D1, Q1, index_version=4, policy="p1"))
    assert queries_of(store) == ["q1"]
    assert store.remap_behind(10) is None
    store.write_labels("d1", revision_of(D1, Q2, index_version=9, policy="p1"))
    assert store.remap_behind(10) is not None
