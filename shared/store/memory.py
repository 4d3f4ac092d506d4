"""The store in memory: for tests and for chains that run in one process."""

from __future__ import annotations

import threading
import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

from shared.contracts.augmentation import (
    Counts,
    DocumentLabels,
    ExportedLabel,
    Job,
    JobState,
    Label,
    Provenance,
)
from shared.contracts.document import Document
from shared.contracts.mapping import MappedQuery
from shared.contracts.synthetic_queries import SyntheticQueries, WrittenQueries
from shared.errors import NotFound
from shared.store.protocols import Revision

_NO_LEASE = datetime.min.replace(tzinfo=UTC)


def _utc_now() -> datetime:
    return datetime.now(UTC)


@dataclass
class _Kept:
    """A document and what belongs to it."""

    document: Document
    synthetic_queries: dict[str, WrittenQueries] = field(default_factory=dict)
    revision: Revision | None = None
    created_at: datetime = _NO_LEASE


class MemoryStore:
    """A `Store` that is gone with its process. Safe to call from several threads.

    Args:
        now: tells the time.
    """

    def __init__(self, now: Callable[[], datetime] = _utc_now) -> None:
        self._now = now
        self._lock = threading.RLock()
        self._documents: dict[str, _Kept] = {}
        self._jobs: dict[str, Job] = {}
        self._waiting: dict[tuple[str, str], datetime] = {}

    def check(self) -> None:
        """Return: memory always answers."""

    def accept(self, documents: Sequence[Document]) -> Job:
        """Keep documents and the record of a new job."""
        with self._lock:
            job = Job(
                id=uuid.uuid4().hex,
                state=JobState.ACCEPTED,
                accepted_at=self._now(),
                documents=len(documents),
            )
            for document in documents:
                kept = self._documents.setdefault(document.id, _Kept(document))
                if kept.document.content_hash != document.content_hash:
                    kept.synthetic_queries = {}
                kept.document = document
                self._waiting[job.id, document.id] = _NO_LEASE
            self._jobs[job.id] = job
            return job

    def lease(self, job_id: str, document_ids: Sequence[str], seconds: float) -> Sequence[str]:
        """Take documents in hand for a while; return those that still wait."""
        with self._lock:
            waiting = [each for each in document_ids if (job_id, each) in self._waiting]
            ends = self._now() + timedelta(seconds=seconds)
            self._waiting.update({(job_id, each): ends for each in waiting})
            return waiting

    def abandoned(self, limit: int) -> dict[str, list[str]]:
        """Return job id -> waiting documents in nobody's hands."""
        with self._lock:
            now = self._now()
            over = sorted((ends, *entry) for entry, ends in self._waiting.items() if ends <= now)
        jobs: dict[str, list[str]] = {}
        for _, job_id, document_id in over[:limit]:
            jobs.setdefault(job_id, []).append(document_id)
        return jobs

    def finish_document(
        self, job_id: str, document_id: str, *, labels: int = 0, error: str | None = None
    ) -> None:
        """Count a waiting document as done or failed, once."""
        with self._lock:
            if self._waiting.pop((job_id, document_id), None) is None:
                return
            job = self._jobs[job_id]
            done, failed = job.done + (error is None), job.failed + (error is not None)
            is_over = done + failed == job.documents
            self._jobs[job_id] = job.model_copy(
                update={
                    "state": _state_of(job.documents, done, failed),
                    "finished_at": self._now() if is_over else None,
                    "done": done,
                    "failed": failed,
                    "labels": job.labels + (labels if error is None else 0),
                    "errors": job.errors if error is None else {**job.errors, document_id: error},
                }
            )

    def job(self, job_id: str) -> Job:
        """Return a job's record."""
        with self._lock:
            if job_id not in self._jobs:
                raise NotFound(f"there is no job {job_id!r}")
            return self._jobs[job_id]

    def recent_jobs(self, limit: int) -> list[Job]:
        """Return the jobs accepted last, newest first."""
        with self._lock:
            return list(reversed(self._jobs.values()))[:limit]

    def document(self, document_id: str) -> Document:
        """Return a document as last accepted."""
        with self._lock:
            return self._kept(document_id).document

    def synthetic_queries(self, document: Document, generator: str) -> WrittenQueries | None:
        """Return what a generator wrote for this content of a document."""
        with self._lock:
            kept = self._current(document.id, document.content_hash)
            return kept.synthetic_queries.get(generator) if kept else None

    def put_synthetic_queries(
        self, document: Document, generator: str, written: WrittenQueries
    ) -> None:
        """Keep what a generator wrote for the current content."""
        with self._lock:
            if kept := self._current(document.id, document.content_hash):
                kept.synthetic_queries.setdefault(generator, written.bare())

    def write_labels(self, document_id: str, revision: Revision) -> bool:
        """Make a revision the document's labels."""
        with self._lock:
            kept = self._current(document_id, revision.content_hash)
            if kept is None:
                return False
            previous = kept.revision
            if previous is None or previous.name != revision.name:
                kept.created_at = self._now()
                previous = replace(revision, labels=[])
            best = _best_of([*previous.labels, *revision.labels])
            kept.revision = replace(previous, labels=best)
            return True

    def labels(self, document_id: str) -> DocumentLabels:
        """Return a document's labels with their provenance."""
        with self._lock:
            kept = self._kept(document_id)
            revision, created_at = kept.revision, kept.created_at
        return DocumentLabels(
            document_id=document_id,
            revision=revision.name if revision else None,
            synthetic_queries=list(revision.written.queries) if revision else [],
            labels=[_label(label, revision, created_at) for label in revision.labels]
            if revision
            else [],
        )

    def iterate_labels(self) -> Iterator[ExportedLabel]:
        """Yield all current labels by document id, most similar first."""
        with self._lock:
            kept = sorted(self._documents.items())
        for document_id, each in kept:
            for label in each.revision.labels if each.revision else ():
                yield ExportedLabel(
                    query_id=label.query_id,
                    document_id=document_id,
                    similarity=label.similarity,
                )

    def iterate_synthetic_queries(self) -> Iterator[SyntheticQueries]:
        """Yield what the current labels were made from, by document id."""
        with self._lock:
            kept = sorted(self._documents.items())
        for document_id, each in kept:
            if each.revision:
                yield SyntheticQueries.of(document_id, each.revision.written)

    def documents_of(self, query_id: str) -> list[str]:
        """Return the ids of the documents that have a train query as a label."""
        return sorted(
            label.document_id for label in self.iterate_labels() if label.query_id == query_id
        )

    def counts(self) -> Counts:
        """Return how much there is of everything."""
        with self._lock:
            jobs = self._jobs.values()
            return Counts(
                documents=len(self._documents),
                labels=sum(1 for _ in self.iterate_labels()),
                accepted=sum(job.documents for job in jobs),
                waiting=len(self._waiting),
                done=sum(job.done for job in jobs),
                failed=sum(job.failed for job in jobs),
                jobs=dict(Counter(job.state for job in jobs)),
            )

    def _kept(self, document_id: str) -> _Kept:
        if document_id not in self._documents:
            raise NotFound(f"there is no document {document_id!r}")
        return self._documents[document_id]

    def _current(self, document_id: str, content_hash: str) -> _Kept | None:
        kept = self._documents.get(document_id)
        return kept if kept and kept.document.content_hash == content_hash else None


def _state_of(documents: int, done: int, failed: int) -> JobState:
    if done + failed < documents:
        return JobState.RUNNING
    if not failed:
        return JobState.DONE
    return JobState.PARTIAL if done else JobState.FAILED


def _best_of(labels: Sequence[MappedQuery]) -> list[MappedQuery]:
    best: dict[str, MappedQuery] = {}
    for label in labels:
        known = best.get(label.query_id)
        if known is None or label.similarity > known.similarity:
            best[label.query_id] = label
    return sorted(best.values(), key=lambda label: (-label.similarity, label.query_id))


def _label(label: MappedQuery, revision: Revision, created_at: datetime) -> Label:
    return Label(
        query_id=label.query_id,
        query=label.query,
        similarity=label.similarity,
        provenance=Provenance(
            synthetic_query=label.synthetic_query,
            rank=label.rank,
            generator=revision.generator,
            encoder=revision.encoder,
            min_similarity=revision.min_similarity,
            created_at=created_at,
        ),
    )
