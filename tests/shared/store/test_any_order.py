"""Any order of operations, documents and labels agrees between memory and Redis."""

from __future__ import annotations

from typing import Any

import redis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shared.store import MemoryStore, RedisStore
from tests.shared.store.driver import Driver
from tests.shared.store.operations import VERSIONS, intake_operation, labels, operation
from tests.support.documents import revision_of

ON_TWO_STORES = settings(
    max_examples=200,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


@ON_TWO_STORES
@given(operations=st.lists(operation, max_size=30))
def test_any_order_of_operations_agrees_between_memory_and_redis(
    redis_client: redis.Redis, operations: list[tuple[Any, ...]]
) -> None:
    agree(redis_client, operations)


@ON_TWO_STORES
@given(operations=st.lists(intake_operation, max_size=30))
def test_documents_may_be_handed_in_in_any_order_and_both_stores_agree(
    redis_client: redis.Redis, operations: list[tuple[Any, ...]]
) -> None:
    agree(redis_client, operations)


def agree(redis_client: redis.Redis, operations: list[tuple[Any, ...]]) -> None:
    redis_client.flushall()
    memory, real = Driver(MemoryStore()), Driver(RedisStore(redis_client))

    for each in operations:
        assert memory.run(*each) == real.run(*each)

    assert memory.seen() == real.seen()


@settings(
    max_examples=30,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(parts=st.lists(labels, min_size=1, max_size=4), data=st.data())
def test_labels_of_one_revision_do_not_depend_on_the_order_they_came_in(
    redis_client: redis.Redis, parts: list[Any], data: st.DataObject
) -> None:
    found = []
    for order in (parts, data.draw(st.permutations(parts))):
        redis_client.flushall()
        store = RedisStore(redis_client)
        store.accept([VERSIONS[0]])
        for part in [*order, *order[:1]]:
            store.write_labels("d1", revision_of(VERSIONS[0], *part))
        found.append(list(store.iterate_labels()))

    assert found[0] == found[1]
