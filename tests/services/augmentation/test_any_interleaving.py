"""Whatever happens in whatever order, labels end as mapping everything afresh would give them."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import redis
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from services.augmentation.augmenter import Augmenter
from services.augmentation.dispatcher import Dispatcher
from services.augmentation.follower import Follower
from services.augmentation.sweeper import follow_once, sweep_once
from shared.contracts.document import Document
from shared.errors import NotFound, Unavailable
from shared.store import MemoryStore, RedisStore, Store
from tests.support.live_mapping import LiveMapping, Scribe
from tests.support.queues import FakeQueue

DOCUMENT_IDS = ("d1", "d2", "d3")
QUERY_IDS = ("q1", "q2", "q3", "q4")
text = st.sampled_from(["a", "b", "a b", "b c", "a, c", "c d, a b"])

step = st.one_of(
    st.tuples(st.just("put"), st.sampled_from(QUERY_IDS), st.sampled_from(["a", "b", "a b", "c"])),
    st.tuples(st.just("remove"), st.sampled_from(QUERY_IDS)),
    st.tuples(st.just("post"), st.sampled_from(DOCUMENT_IDS), text),
    st.tuples(st.just("remove_document"), st.sampled_from(DOCUMENT_IDS)),
    st.tuples(st.just("policy"), st.sampled_from(["p1", "p2"])),
    st.tuples(st.just("forget"), st.none()),
    st.tuples(st.just("follow"), st.integers(min_value=0, max_value=9)),
    st.tuples(st.just("sweep"), st.none()),
    st.tuples(st.just("lose"), st.none()),
    st.tuples(st.just("later"), st.none()),
    st.tuples(st.just("settle"), st.integers(min_value=1, max_value=2)),
)
work = st.tuples(st.just("work"), st.lists(step, max_size=5))
steps = st.lists(st.one_of(step, work, work), min_size=6, max_size=25)
"""`work`: a worker takes a message and maps it; the steps in its list happen before it writes."""


class Dying:
    """A store that goes away at the n-th call; 0 never."""

    def __init__(self, store: Store, calls: int) -> None:
        self._store = store
        self._left = calls

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401
        def call(*args: object, **kwargs: object) -> object:
            self._left -= 1
            result = getattr(self._store, name)(*args, **kwargs)
            if self._left == 0:
                raise Unavailable(f"died after {name}")
            return result

        return call


class Driver:
    """Runs steps against a store; in Redis, whose clock is its own, leases end at once."""

    def __init__(self, store: Store | None = None) -> None:
        self.now = datetime(2026, 11, 25, tzinfo=UTC)
        self.lease_seconds = 60 if store is None else 0
        self.store: Store = MemoryStore(now=lambda: self.now) if store is None else store
        self.mapping = LiveMapping()
        self.scribe = Scribe()
        self.queue = FakeQueue()
        self.augmenter = Augmenter(
            self.store, self.scribe, self.mapping, lease_seconds=self.lease_seconds
        )
        self.dispatcher = self._dispatcher(self.store)
        self._follow(0)

    def run(self, todo: Sequence[Any]) -> None:
        for name, *values in todo:
            getattr(self, f"_{name}")(*values)

    def settle(self) -> None:
        for _ in range(12):
            self._later(None)
            self._settle(1)

    def _later(self, _: None) -> None:
        self.now += timedelta(seconds=100)

    def _settle(self, times: int) -> None:
        for _ in range(times):
            self._follow(0)
            self._sweep(None)
            while self.queue.messages:
                self._work([])

    def check(self) -> None:
        assert self.store.counts().waiting == 0
        assert self.store.opening() == []
        expected = {}
        for document_id in DOCUMENT_IDS:
            try:
                document = self.store.document(document_id)
            except NotFound:
                continue
            for query_id, similarity in self.mapping.labels_of(document.text.split(", ")).items():
                expected[query_id, document_id] = similarity
        found = {
            (label.query_id, label.document_id): label.similarity
            for label in self.store.iterate_labels()
        }
        assert found == expected
        assert self.store.counts().labels == len(expected)
        for query_id in QUERY_IDS:
            of_query = [each for query, each in sorted(expected) if query == query_id]
            assert self.store.documents_of(query_id) == of_query

    def _put(self, query_id: str, text: str) -> None:
        self.mapping.put(query_id, text)

    def _remove(self, query_id: str) -> None:
        self.mapping.remove(query_id)

    def _post(self, document_id: str, text: str) -> None:
        job = self.store.accept([Document(id=document_id, title="x", text=text)])
        self.dispatcher.dispatch(job.id, [document_id])

    def _remove_document(self, document_id: str) -> None:
        self.store.remove_documents([document_id])

    def _policy(self, policy: str) -> None:
        self.mapping.policy = policy

    def _forget(self, _: None) -> None:
        self.mapping.known_from = self.mapping.version

    def _follow(self, dies_at: int) -> None:
        store: Any = Dying(self.store, dies_at)
        follow_once(Follower(store, self.mapping, self._dispatcher(store), window=2))

    def _dispatcher(self, store: Store) -> Dispatcher:
        return Dispatcher(store, self.queue, batch_size=2, seconds=self.lease_seconds)

    def _sweep(self, _: None) -> None:
        sweep_once(self.dispatcher, 10)

    def _lose(self, _: None) -> None:
        self.queue.messages.clear()

    def _work(self, meanwhile: Sequence[Any]) -> None:
        if not self.queue.messages:
            return

        def run_once() -> None:
            self.mapping.meanwhile = lambda: None
            self.run(meanwhile)

        self.mapping.meanwhile = run_once
        try:
            self.augmenter.augment(*self.queue.messages.pop(0))
        except Unavailable:
            pass  # Celery tries again; the sweeper would too
        finally:
            self.mapping.meanwhile = lambda: None


LATE_WORKER = [("post", "d1", "b"), ("work", [("put", "q1", "b"), ("settle", 2)])]
CAME_AND_WENT = [
    ("put", "q1", "a"),
    ("post", "d1", "a"),
    ("work", []),
    ("remove", "q1"),
]
DISPLACED = [
    *(("put", query_id, text) for query_id, text in (("q1", "a b"), ("q2", "a"), ("q3", "b"))),
    ("post", "d1", "a b"),
    ("settle", 2),
    ("remove", "q1"),
]


@settings(max_examples=300)
@given(todo=steps)
@example(todo=LATE_WORKER)
@example(todo=CAME_AND_WENT)
@example(todo=DISPLACED)
def test_labels_end_as_a_fresh_mapping_gives_them(todo: list[Any]) -> None:
    driver = Driver()

    driver.run(todo)
    driver.settle()

    driver.check()


@settings(
    max_examples=25,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(todo=steps)
def test_labels_end_so_in_redis_too(redis_client: redis.Redis, todo: list[Any]) -> None:
    redis_client.flushall()
    driver = Driver(RedisStore(redis_client))

    driver.run(todo)
    driver.settle()

    driver.check()
