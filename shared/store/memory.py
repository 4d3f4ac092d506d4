"""The store in memory: for tests and for chains that run in one process."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from shared.contracts.augmentation import (
    Counts,
    DocumentLabels,
    ExportedLabel,
    Job,
    JobState,
    Label,
    LabelledDocument,
    Provenance,
    QueryDocuments,
)
from shared.contracts.document import Document
from shared.contracts.mapping import MappedQuery
from shared.contracts.synthetic_queries import SyntheticQueries, WrittenQueries
from shared.errors import NotFound
from shared.store.intake import MAX_ERRORS
from shared.store.memory_intake import Kept, MemoryIntake
from shared.store.memory_remaps import MemoryRemaps
from shared.store.memory_reviews import MemoryReviews
from shared.store.memory_rows import MemoryRows
from shared.store.memory_work import NO_LEASE, MemoryWork, by_job
from shared.store.protocols import QueueState, Remap, Revision, Stored


def _utc_now() -> datetime:
    return datetime.now(UTC)


class MemoryStore(MemoryIntake, MemoryWork, MemoryRemaps, MemoryReviews, MemoryRows):
    """A `Store` that is gone with its process. Safe to call from several threads.

    Args:
        now: tells the time.
    """

    def __init__(self, now: Callable[[], datetime] = _utc_now) -> None:
        MemoryWork.__init__(self, now)
        MemoryIntake.__init__(self)
        MemoryRemaps.__init__(self)
        self._documents: dict[str, Kept] = {}

    def check(self) -> None:
        """Return: memory always answers."""

    def lease(self, job_id: str, document_ids: Sequence[str], seconds: float) -> Sequence[str]:
        """Take documents in hand for a while; return those that still wait."""
        with self._lock:
            if job_id in self._jobs and self._jobs[job_id].state is JobState.CANCELLED:
                self._leave_out(job_id, document_ids)
                return []
            for each in document_ids:
                if each not in self._documents:
                    self.finish_document(job_id, each)
            waiting = [each for each in document_ids if (job_id, each) in self._waiting]
            now = self._now()
            for each in waiting:
                if not self._is_in_hands((job_id, each), now):
                    self._waiting[job_id, each] = now + timedelta(seconds=seconds)
            return waiting

    def abandoned(self, limit: int) -> dict[str, list[str]]:
        """Return job id -> waiting documents in nobody's hands."""
        with self._lock:
            return by_job(self._over(self._now())[:limit])

    def finish_document(
        self, job_id: str, document_id: str, *, labels: int = 0, error: str | None = None
    ) -> None:
        """Count a waiting document as done or failed, once."""
        with self._lock:
            tries = self._tries.pop((job_id, document_id), None)
            if self._waiting.pop((job_id, document_id), None) is None:
                return
            if error is not None and document_id in self._documents:
                self._bury(job_id, document_id, error, max(tries.alone, 1) if tries else 1)
            job = self._jobs[job_id]
            self._jobs[job_id] = job.model_copy(
                update={
                    "cancelled": job.cancelled - (job.state is JobState.CANCELLED),
                    "done": job.done + (error is None),
                    "failed": job.failed + (error is not None),
                    "labels": job.labels + (labels if error is None else 0),
                    "errors": job.errors
                    if error is None or len(job.errors) >= MAX_ERRORS
                    else {**job.errors, document_id: error},
                }
            )
            self._judge(job_id)

    def _judge(self, job_id: str) -> None:
        job = self._jobs[job_id]
        if job.state is JobState.CANCELLED:
            return
        is_begun = job.done + job.failed > job.unchanged
        state = JobState.RUNNING if is_begun else JobState.ACCEPTED
        if job_id not in self._opening and job.done + job.failed == job.documents:
            state = _end_of(job)
            if job_id in self._remaps:
                self._remaps[job_id] = Remap()
        self._jobs[job_id] = job.model_copy(
            update={
                "state": state,
                "finished_at": self._now()
                if state not in {JobState.RUNNING, JobState.ACCEPTED}
                else None,
            }
        )

    def job(self, job_id: str) -> Job:
        """Return a job's record."""
        with self._lock:
            if job_id not in self._jobs:
                raise NotFound(f"there is no job {job_id!r}")
            return self._jobs[job_id]

    def queue(self) -> QueueState:
        """Return how what waits fares."""
        with self._lock:
            now = self._now()
            accepted = [self._jobs[job_id].accepted_at for job_id, _ in self._waiting]
            ends = [each for each in self._waiting.values() if each != NO_LEASE]
        return QueueState(
            oldest_seconds=(now - min(accepted, default=now)).total_seconds(),
            leased=sum(each > now for each in ends),
            overdue_seconds=max((now - min(ends, default=now)).total_seconds(), 0.0),
        )

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
            if previous is not None and self._is_older(revision, previous):
                return False
            if previous is None or previous.name != revision.name:
                kept.created_at = self._now()
                previous = replace(revision, labels=[])
            there = [
                label
                for label in revision.labels
                if self._removed.get(label.query_id, 0) <= revision.index_version
            ]
            best = _best_of([*previous.labels, *there])
            kept.revision = replace(previous, labels=best)
            is_whole = len(there) == len(revision.labels)
            if not is_whole or (self._followed and self._is_behind(revision, self._followed)):
                self._behind.add(document_id)
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
                    probability=label.probability,
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

    def labelled_with(self, query_id: str, limit: int) -> QueryDocuments:
        """Return the documents most similar to a train query."""
        found = [
            LabelledDocument(document_id=label.document_id, similarity=label.similarity)
            for label in self.iterate_labels()
            if label.query_id == query_id
        ]
        best = sorted(found, key=lambda each: (-each.similarity, each.document_id))
        return QueryDocuments(query_id=query_id, total=len(found), documents=best[:limit])

    def remove_documents(self, document_ids: Sequence[str]) -> list[str]:
        """Forget documents and all that belongs to them."""
        with self._lock:
            for job_id in self._staged:
                self._gone.setdefault(job_id, set()).update(document_ids)
            there = [each for each in dict.fromkeys(document_ids) if each in self._documents]
            for document_id in there:
                del self._documents[document_id]
                self._deaths.pop(document_id, None)
            self._behind.difference_update(there)
            return there

    def _is_there(self, document_id: str) -> bool:
        return document_id in self._documents

    def remove_labels_of(self, query_ids: Sequence[str], version: int) -> int:
        """Take train queries from every older revision."""
        with self._lock:
            gone, removed = set(query_ids), 0
            for query_id in gone:
                self._removed[query_id] = max(version, self._removed.get(query_id, 0))
            for document_id, kept in self._documents.items():
                revision = kept.revision
                if revision is None or revision.index_version >= version:
                    continue
                left = [each for each in revision.labels if each.query_id not in gone]
                if len(left) < len(revision.labels):
                    removed += len(revision.labels) - len(left)
                    kept.revision = replace(revision, labels=left)
                    self._behind.add(document_id)
            return removed

    def stored(self, document_ids: Sequence[str]) -> dict[str, Stored]:
        """Return those of the documents that can be mapped anew without a generator."""
        found: dict[str, Stored] = {}
        with self._lock:
            for document_id in document_ids:
                kept = self._documents.get(document_id)
                if kept is None or kept.revision is None:
                    continue
                generator = kept.revision.generator
                if (written := kept.synthetic_queries.get(generator)) is not None:
                    found[document_id] = Stored(kept.document, generator, written)
        return found

    def counts(self) -> Counts:
        """Return how much there is of everything."""
        with self._lock:
            jobs = self._jobs.values()
            gone = {job.id for job in jobs if job.state is JobState.CANCELLED}
            return Counts(
                documents=len(self._documents),
                labels=sum(1 for _ in self.iterate_labels()),
                accepted=sum(job.documents for job in jobs),
                waiting=sum(job_id not in gone for job_id, _ in self._waiting)
                + sum(map(len, self._staged.values())),
                done=sum(job.done for job in jobs),
                failed=sum(job.failed for job in jobs),
                cancelled=sum(job.cancelled for job in jobs),
                dead_letters=len(self._deaths),
                jobs=dict(Counter(job.state for job in jobs)),
            )

    def _kept(self, document_id: str) -> Kept:
        if document_id not in self._documents:
            raise NotFound(f"there is no document {document_id!r}")
        return self._documents[document_id]

    def _current(self, document_id: str, content_hash: str) -> Kept | None:
        kept = self._documents.get(document_id)
        return kept if kept and kept.document.content_hash == content_hash else None


def _end_of(job: Job) -> JobState:
    if not job.failed:
        return JobState.DONE
    return JobState.PARTIAL if job.done else JobState.FAILED


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
            agreement=label.agreement,
            probability=label.probability,
            generator=revision.generator,
            encoder=revision.encoder,
            min_similarity=revision.min_similarity,
            policy=revision.policy,
            index_version=revision.index_version,
            created_at=created_at,
        ),
    )
