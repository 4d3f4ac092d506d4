"""The store in Redis (or Valkey): one Lua script a step, so that a step happens whole or not at all."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, Self

import redis
from redis import exceptions
from redis.commands.core import Script

from shared.contracts.augmentation import (
    Counts,
    DocumentLabels,
    ExportedLabel,
    Job,
    JobState,
    LabelledDocument,
    QueryDocuments,
)
from shared.contracts.document import Document
from shared.contracts.synthetic_queries import SyntheticQueries, WrittenQueries
from shared.errors import Conflict, Full, InvalidInput, NotFound, Unavailable
from shared.store import keys, records, scripts
from shared.store.address import RedisAddress
from shared.store.intake import MAX_ERRORS
from shared.store.portable import IS_IMPORTING
from shared.store.protocols import (
    MAX_SEEN_OF_A_QUERY,
    QueueState,
    Revision,
    Stored,
)
from shared.store.queue_script import READ_QUEUE
from shared.store.redis_files import RedisFiles
from shared.store.redis_intake import RedisIntake
from shared.store.redis_remaps import RedisRemaps
from shared.store.redis_reviews import RedisReviews
from shared.store.redis_rows import RedisRows
from shared.store.redis_work import RedisWork, by_job
from shared.tracing import span

_PAGE = 200
_REMEMBERED_REMOVALS = 100_000
"""Train queries that late writes leave out. One forgotten is out of date, not wrong for ever: what is
older than the version followed is noted as behind all the same."""
_CANNOT_WRITE = ("MISCONF", "NOREPLICAS", "MASTERDOWN")


class RedisStore(RedisIntake, RedisWork, RedisRemaps, RedisReviews, RedisRows, RedisFiles):
    """A `Store` in Redis. Safe to call from several threads; connects when first asked.

    Args:
        client: decodes responses.
        place: how messages call it; host and port if absent.
    """

    def __init__(self, client: redis.Redis, place: str = "") -> None:
        super().__init__(client)
        self._redis = client
        self._place = place or _place_of(client)
        self._is_checked = False
        self._register_intake(client)
        self._register_remaps(client)
        self._register_reviews(client)
        self._register_rows(client)
        self._lease = client.register_script(scripts.LEASE)
        self._abandoned = client.register_script(scripts.ABANDONED)
        self._finish = client.register_script(scripts.FINISH)
        self._put_synthetic_queries = client.register_script(scripts.PUT_SYNTHETIC_QUERIES)
        self._write_labels = client.register_script(scripts.WRITE_LABELS)
        self._remove_documents = client.register_script(scripts.REMOVE_DOCUMENTS)
        self._remember_removed = client.register_script(scripts.REMEMBER_REMOVED)
        self._remove_labels = client.register_script(scripts.REMOVE_LABELS)
        self._read_stored = client.register_script(scripts.READ_STORED)
        self._read_query = client.register_script(scripts.READ_QUERY)
        self._read_labels = client.register_script(scripts.READ_LABELS)
        self._read_maker = client.register_script(scripts.READ_MAKER)
        self._read_queue = client.register_script(READ_QUEUE)

    @classmethod
    def at(cls, url: str, *, retries: int = 2, timeout_seconds: float = 5.0) -> Self:
        """Return the store at a URL that `RedisAddress` reads.

        Args:
            url: may hold user and password; messages never do.
            retries: of a call without answer, with growing pauses up to half a second. The default gives
                up at once where nothing listens; 20 outlast a restart.
            timeout_seconds: of one attempt.

        Raises:
            InvalidInput: not such a URL.
        """
        address = RedisAddress.of(url)
        client = address.client(retries=retries, timeout_seconds=timeout_seconds)
        return cls(client, address.place)

    @classmethod
    def of_process(cls, name: str, url: str) -> Self:
        """Return the store for a process that begins; the process ends with one line if it can never use it.

        A cluster, another layout and half an import are reasons, not that Redis is away.
        """
        try:
            store = cls.at(url)
            with suppress(Unavailable):
                store.check()
        except (Conflict, InvalidInput) as error:
            sys.exit(f"{name}: {error}")
        return store

    def check(self) -> None:
        """Return if Redis answers and holds our layout, or nothing yet."""
        self._is_checked = False
        with self._asking():
            self._redis.ping()

    def lease(self, job_id: str, document_ids: Sequence[str], seconds: float) -> Sequence[str]:
        """Take documents in hand for a while; return those that still wait."""
        with self._asking():
            waiting: list[str] = self._lease(args=[job_id, int(seconds * 1e6), *document_ids])
        return waiting

    def abandoned(self, limit: int) -> dict[str, list[str]]:
        """Return job id -> waiting documents in nobody's hands."""
        with self._asking():
            entries = self._abandoned(args=[limit])
        return by_job(entries)

    def finish_document(
        self, job_id: str, document_id: str, *, labels: int = 0, error: str | None = None
    ) -> None:
        """Count a waiting document as done or failed, once."""
        with self._asking():
            if error is None:
                self._finish(args=[job_id, document_id, "done", labels, ""])
            else:
                self._finish(args=[job_id, document_id, "failed", 0, error])

    def job(self, job_id: str) -> Job:
        """Return a job's record."""
        jobs = self._jobs([job_id])
        if not jobs:
            raise NotFound(f"there is no job {job_id!r}")
        return jobs[0]

    def queue(self) -> QueueState:
        """Return how what waits fares."""
        with self._asking():
            oldest, overdue, leased = self._read_queue()
        return QueueState(oldest / 1e6, leased, overdue / 1e6)

    def document(self, document_id: str) -> Document:
        """Return a document as last accepted."""
        with self._asking():
            body: Any = self._redis.hget(keys.DOCUMENT + document_id, "body")
        if body is None:
            raise NotFound(f"there is no document {document_id!r}")
        return Document.model_validate_json(body)

    def synthetic_queries(self, document: Document, generator: str) -> WrittenQueries | None:
        """Return what a generator wrote for this content of a document."""
        written_by = f"{document.content_hash}:{generator}"
        with self._asking():
            found: Any = self._redis.hget(keys.SYNTHETIC + document.id, written_by)
        return None if found is None else WrittenQueries.model_validate_json(found)

    def put_synthetic_queries(
        self, document: Document, generator: str, written: WrittenQueries
    ) -> None:
        """Keep what a generator wrote for the current content."""
        body = written.bare().model_dump_json()
        with self._asking():
            self._put_synthetic_queries(args=[document.id, document.content_hash, generator, body])

    def write_labels(self, document_id: str, revision: Revision) -> bool:
        """Make a revision the document's labels."""
        rows = [
            value
            for label in revision.labels
            for value in (
                label.query_id,
                label.similarity,
                records.reason_of(label),
                "" if label.probability is None else label.probability,
            )
        ]
        head: list[str | bytes | int] = [
            document_id,
            revision.content_hash,
            revision.name,
            records.maker_of(revision),
            revision.index_version,
            revision.policy,
        ]
        with span("store.write_labels", skim__document_id=document_id), self._asking():
            return bool(self._write_labels(args=[*head, *rows]))

    def labels(self, document_id: str) -> DocumentLabels:
        """Return a document's labels with their provenance."""
        with self._asking():
            found = self._read_labels(args=[document_id, "why"])
        if found is None:
            self.document(document_id)
            return DocumentLabels(
                document_id=document_id, revision=None, synthetic_queries=[], labels=[]
            )
        return records.labels_of(document_id, *found)

    def iterate_labels(self) -> Iterator[ExportedLabel]:
        """Yield all current labels by document id, most similar first."""
        for document_id, found in self._of_every_document(self._read_labels, ""):
            probabilities = records.probabilities_of(found[2])
            for query_id, similarity in records.best_first(found[1]):
                yield ExportedLabel(
                    query_id=query_id,
                    document_id=document_id,
                    similarity=similarity,
                    probability=probabilities.get(query_id),
                )

    def iterate_synthetic_queries(self) -> Iterator[SyntheticQueries]:
        """Yield what the current labels were made from, by document id."""
        for document_id, found in self._of_every_document(self._read_maker):
            yield records.written_of(document_id, found)

    def documents_of(self, query_id: str) -> list[str]:
        """Return the ids of the documents that have a train query as a label."""
        with self._asking():
            found: Any = self._redis.smembers(keys.QUERY + query_id)
        return sorted(found)

    def labelled_with(self, query_id: str, limit: int) -> QueryDocuments:
        """Return the documents most similar to a train query."""
        with self._asking():
            total, *flat = self._read_query(args=[query_id, MAX_SEEN_OF_A_QUERY])
        return QueryDocuments(
            query_id=query_id,
            total=total,
            documents=[
                LabelledDocument(document_id=document_id, similarity=similarity)
                for document_id, similarity in records.best_first(flat)[:limit]
            ],
        )

    def remove_documents(self, document_ids: Sequence[str]) -> list[str]:
        """Forget documents and all that belongs to them."""
        removed: list[str] = []
        for start in range(0, len(document_ids), _PAGE):
            with self._asking():
                removed += self._remove_documents(args=document_ids[start : start + _PAGE])
        return removed

    def remove_labels_of(self, query_ids: Sequence[str], version: int) -> int:
        """Take train queries from every older revision."""
        for start in range(0, len(query_ids), _PAGE):
            some = query_ids[start : start + _PAGE]
            with self._asking():
                self._remember_removed(args=[version, _REMEMBERED_REMOVALS, *some])
        return sum(self._remove_labels_of(query_id, version) for query_id in query_ids)

    def _remove_labels_of(self, query_id: str, version: int) -> int:
        removed, cursor = 0, 0
        while True:
            with self._asking():
                found: Any = self._redis.sscan(keys.QUERY + query_id, cursor, count=_PAGE)
                cursor, document_ids = found
                if document_ids:
                    removed += self._remove_labels(args=[query_id, version, *document_ids])
            if not cursor:
                return removed

    def stored(self, document_ids: Sequence[str]) -> dict[str, Stored]:
        """Return those of the documents that can be mapped anew without a generator."""
        with self._asking():
            pipeline = self._redis.pipeline(transaction=False)
            for document_id in document_ids:
                self._read_stored(args=[document_id], client=pipeline)
            found = pipeline.execute()
        return {
            document_id: Stored(
                Document.model_validate_json(each[0]),
                each[1],
                WrittenQueries.model_validate_json(each[2]),
            )
            for document_id, each in zip(document_ids, found, strict=True)
            if each
        }

    def counts(self) -> Counts:
        """Return how much there is of everything."""
        with self._asking():
            pipeline = self._redis.pipeline()
            pipeline.zcard(keys.DOCUMENTS)
            pipeline.zcard(keys.WAITING)
            pipeline.zcard(keys.DEAD)
            pipeline.hgetall(keys.TOTALS)
            documents, entries, dead, totals = pipeline.execute()
        sums = {name: int(value) for name, value in totals.items()}
        return Counts(
            documents=documents,
            waiting=entries + sums.get("staged", 0) - sums.get("leaving", 0),
            labels=sums.get("labels", 0),
            accepted=sums.get("accepted", 0),
            done=sums.get("done", 0),
            failed=sums.get("failed", 0),
            cancelled=sums.get("cancelled", 0),
            dead_letters=dead,
            jobs={state: sums[f"jobs:{state}"] for state in JobState if sums.get(f"jobs:{state}")},
        )

    def _of_every_document(self, script: Script, *args: str) -> Iterator[tuple[str, Any]]:
        """Yield what a script finds for each document, page by page; nothing where it finds nil."""
        after = "-"
        while True:
            with self._asking():
                document_ids: Any = self._redis.zrange(
                    keys.DOCUMENTS, after, "+", bylex=True, offset=0, num=_PAGE
                )
                pipeline = self._redis.pipeline(transaction=False)
                for document_id in document_ids:
                    script(args=[document_id, *args], client=pipeline)
                found = pipeline.execute()
            for document_id, each in zip(document_ids, found, strict=True):
                if each is not None:
                    yield document_id, each
            if len(document_ids) < _PAGE:
                return
            after = f"({document_ids[-1]}"

    def _jobs(self, job_ids: Sequence[str]) -> list[Job]:
        with self._asking():
            pipeline = self._redis.pipeline()
            for job_id in job_ids:
                pipeline.hgetall(keys.JOB + job_id)
                pipeline.hscan(keys.ERRORS + job_id, count=MAX_ERRORS)
                pipeline.lrange(keys.REFUSALS + job_id, 0, -1)
            found = pipeline.execute()
        return [
            records.job_of(job_id, record, some[1], refusals)
            for job_id, record, some, refusals in zip(
                job_ids, found[::3], found[1::3], found[2::3], strict=True
            )
            if record
        ]

    @contextmanager
    def _asking(self, *, imports: bool = False) -> Iterator[None]:
        """Check the layout before the first question, and name by fact what goes wrong.

        An import checks it each time: it may be one that is not finished.
        """
        try:
            if imports or not self._is_checked:
                self._check_layout(imports=imports)
                self._is_checked = not imports
            yield
        except (exceptions.ConnectionError, exceptions.TimeoutError) as error:
            raise Unavailable(f"{self._place} does not answer: {error}") from error
        except exceptions.OutOfMemoryError as error:
            raise Full(f"{self._place} cannot write: {error}") from error
        except exceptions.ReadOnlyError as error:
            raise Unavailable(f"{self._place} cannot write: {error}") from error
        except exceptions.ResponseError as error:
            if not str(error).startswith(_CANNOT_WRITE):
                raise
            raise Unavailable(f"{self._place} cannot write: {error}") from error

    def _check_layout(self, *, imports: bool) -> None:
        cluster: Any = self._redis.info("cluster")
        if cluster.get("cluster_enabled"):
            raise Conflict(
                f"{self._place} is a cluster, which the workers' queue cannot use: expected a single server, or "
                "one that sentinels watch"
            )
        found: Any = self._redis.set(keys.LAYOUT, keys.LAYOUT_VERSION, nx=True, get=True)
        if found == keys.IMPORTING and not imports:
            raise Conflict(f"{self._place}: {IS_IMPORTING}")
        if found not in (None, keys.LAYOUT_VERSION, keys.IMPORTING):
            raise Conflict(
                f"{self._place} holds data of layout {found}; this version of SKIM reads "
                f"layout {keys.LAYOUT_VERSION}"
            )


def _place_of(client: redis.Redis) -> str:
    where = client.get_connection_kwargs()
    return f"Redis at {where.get('host', 'localhost')}:{where.get('port', 6379)}"
