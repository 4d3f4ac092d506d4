"""Who holds an upload, the same in memory and in Redis: others wait, go on with it, or find nothing."""

from __future__ import annotations

import pytest
import redis

from shared.contracts.augmentation import JobState
from shared.errors import Conflict, Full, InFlight
from shared.store import RedisStore, Store
from shared.store.intake import (
    Hold,
    SealedUpload,
)
from tests.shared.store.uploading import (
    D1,
    D2,
    KEY,
    MINE,
    OVER,
    YOURS,
    chunk_of,
    incoming,
    sealed,
    upload,
)


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
