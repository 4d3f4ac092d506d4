from collections.abc import Sequence
from typing import Any

import redis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shared.contracts.document import Document
from shared.contracts.mapping import MappedQuery
from shared.contracts.synthetic_queries import WrittenQueries
from shared.errors import NotFound
from shared.store import MemoryStore, RedisStore, Remap, Store
from tests.support.documents import document_of, label_of, revision_of

VERSIONS = [document_of(id_, text) for id_ in ("d1", "d2") for text in ("old", "new")]
SCORES = (0.6, 0.75, 0.9)
PROBABILITIES = {0.6: None, 0.75: 0.25, 0.9: 1 / 3}

document = st.sampled_from(VERSIONS)
generator = st.sampled_from(["slm-1", "slm-2"])
labels = st.lists(
    st.builds(
        lambda query_id, score: label_of(query_id, score, probability=PROBABILITIES[score]),
        st.sampled_from(["q1", "q2", "q3"]),
        st.sampled_from(SCORES),
    ),
    max_size=4,
)
version = st.integers(min_value=0, max_value=3)
policy = st.sampled_from(["", "p1", "p2"])
queries = st.lists(st.sampled_from(["q1", "q2"]), min_size=1, unique=True)
remap = st.builds(Remap, st.just(()) | queries.map(tuple))
job = st.integers(min_value=0, max_value=3)
some = st.lists(st.sampled_from(["d1", "d2", "d9"]), min_size=1, unique=True)
owner = st.sampled_from(["one", "other"])
operation = st.one_of(
    st.tuples(st.just("accept"), st.lists(document, min_size=1, unique_by=lambda each: each.id)),
    st.tuples(st.just("lease"), job, document, st.sampled_from([0, 60])),
    st.tuples(st.just("finish"), job, document, st.none() | st.text(max_size=3)),
    st.tuples(st.just("take"), job, some, owner, st.sampled_from([0, 60])),
    st.tuples(st.just("renew"), job, some, owner, st.sampled_from([0, 60])),
    st.tuples(st.just("hand_back"), job, some, owner, st.sampled_from([0, 60])),
    st.tuples(st.just("blame"), job, some, owner),
    st.tuples(st.just("claim")),
    st.tuples(st.just("replay"), some | st.just([]), st.integers(min_value=1, max_value=2)),
    st.tuples(st.just("purge"), some),
    st.tuples(st.just("put"), document, generator, st.lists(st.sampled_from("abc"), max_size=2)),
    st.tuples(st.just("write"), document, generator, labels, version, policy),
    st.tuples(st.just("remove"), st.lists(st.sampled_from(["d1", "d2", "d9"]), max_size=2)),
    st.tuples(st.just("remove_labels"), queries, version),
    st.tuples(st.just("remap"), remap),
    st.tuples(st.just("page"), job, st.integers(min_value=1, max_value=3)),
    st.tuples(st.just("follow"), st.booleans(), version, policy, st.none() | remap),
    st.tuples(st.just("behind"), st.integers(min_value=1, max_value=2)),
)


class Driver:
    """Runs the same operations on any store, jobs named by their order."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.jobs: list[str] = []

    def run(self, name: str, *values: object) -> object:
        return getattr(self, f"_{name}")(*values)

    def seen(self) -> object:
        """Everything a caller can read, without times and job ids."""
        return {
            "jobs": [self._job(job_id) for job_id in self.jobs],
            "recent": [self.jobs.index(each.id) for each in self.store.recent_jobs(99)],
            "labels": [self._labels(id_) for id_ in ("d1", "d2")],
            "synthetic": [
                self.store.synthetic_queries(version, name)
                for version in VERSIONS
                for name in ("slm-1", "slm-2")
            ],
            "exported": list(self.store.iterate_labels()),
            "made from": list(self.store.iterate_synthetic_queries()),
            "opening": [self.jobs.index(each) for each in self.store.opening()],
            "remaps": [self.store.remap_of(job_id) for job_id in self.jobs],
            "followed": self._followed(),
            "labelled": [self.store.labelled_with(id_, 1) for id_ in ("q1", "q2", "q3")],
            "stored": self.store.stored(["d1", "d2", "d9"]),
            "documents": [self.store.documents_of(id_) for id_ in ("q1", "q2", "q3")],
            "counts": self.store.counts(),
            "dead": [
                (each.document_id, self.jobs.index(each.job_id), each.reason, each.tries)
                for each in self.store.dead_letters(9).dead_letters
            ],
            "abandoned": {
                self.jobs.index(job_id): sorted(document_ids)
                for job_id, document_ids in self.store.abandoned(99).items()
            },
        }

    def _accept(self, documents: list[Document]) -> None:
        self.jobs.append(self.store.accept(documents).id)

    def _lease(self, job: int, document: Document, seconds: float) -> object:
        return list(self.store.lease(self._id(job), [document.id], seconds))

    def _take(self, job: int, ids: list[str], owner: str, seconds: float) -> object:
        taken = self.store.take(self._id(job), ids, owner, seconds)
        return list(taken.document_ids), list(taken.apart)

    def _renew(self, job: int, ids: list[str], owner: str, seconds: float) -> None:
        self.store.renew(self._id(job), ids, owner, seconds)

    def _hand_back(self, job: int, ids: list[str], owner: str, seconds: float) -> None:
        self.store.hand_back(self._id(job), ids, owner, seconds)

    def _blame(self, job: int, ids: list[str], owner: str) -> object:
        return list(self.store.blame(self._id(job), ids, owner, 60, "odd"))

    def _claim(self) -> object:
        claimed = self.store.claim(99, 60, 600)
        return {self.jobs.index(job_id): sorted(ids) for job_id, ids in claimed.items()}

    def _replay(self, ids: list[str], limit: int) -> object:
        found = self.store.replay(ids, limit)
        if found is None:
            return None
        self.jobs.append(found[0].id)
        return list(found[1])

    def _purge(self, ids: list[str]) -> object:
        return self.store.purge(ids)

    def _finish(self, job: int, document: Document, error: str | None) -> None:
        self.store.finish_document(self._id(job), document.id, labels=2, error=error)

    def _put(self, document: Document, generator: str, queries: list[str]) -> None:
        self.store.put_synthetic_queries(document, generator, WrittenQueries(queries=queries))

    def _write(
        self,
        document: Document,
        generator: str,
        labels: Sequence[MappedQuery],
        version: int,
        policy: str,
    ) -> bool:
        revision = revision_of(
            document, *labels, generator=generator, index_version=version, policy=policy
        )
        return self.store.write_labels(document.id, revision)

    def _remove(self, document_ids: list[str]) -> object:
        return self.store.remove_documents(document_ids)

    def _remove_labels(self, query_ids: list[str], version: int) -> object:
        return self.store.remove_labels_of(query_ids, version)

    def _remap(self, remap: Remap) -> None:
        self.jobs.append(self.store.begin_remap(remap).id)

    def _page(self, job: int, limit: int) -> object:
        page = self.store.accept_page(self._id(job), limit)
        return list(page.document_ids), page.is_last

    def _follow(self, is_current: bool, version: int, policy: str, remap: Remap | None) -> object:
        since = self.store.followed() if is_current else None
        is_done = self.store.follow(since, version, policy, remap)
        if is_done and (job_id := self.store.followed().job_id):
            self.jobs.append(job_id)
        return is_done

    def _behind(self, limit: int) -> object:
        found = self.store.remap_behind(limit)
        if found is None:
            return None
        self.jobs.append(found[0])
        return found[1]

    def _followed(self) -> object:
        found = self.store.followed()
        return found and (found.version, found.policy, found.job_id in self.jobs)

    def _id(self, job: int) -> str:
        return self.jobs[job] if job < len(self.jobs) else "unknown"

    def _job(self, job_id: str) -> object:
        found = self.store.job(job_id)
        return (
            found.finished_at is None,
            found.model_dump(exclude={"id", "accepted_at", "finished_at"}),
        )

    def _labels(self, document_id: str) -> object:
        try:
            found = self.store.labels(document_id)
        except NotFound:
            return None
        for label in found.labels:
            assert label.similarity in SCORES
        return found.model_dump(
            exclude={"labels": {"__all__": {"provenance": {"created_at": True}}}}
        )


@settings(
    max_examples=200,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(operations=st.lists(operation, max_size=30))
def test_any_order_of_operations_agrees_between_memory_and_redis(
    redis_client: redis.Redis, operations: list[tuple[Any, ...]]
) -> None:
    redis_client.flushall()
    memory, real = Driver(MemoryStore()), Driver(RedisStore(redis_client))

    for each in operations:
        assert memory.run(*each) == real.run(*each)

    assert memory.seen() == real.seen()


@settings(
    max_examples=30,
    deadline=None,
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
