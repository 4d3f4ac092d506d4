"""Who gets which documents: batches for the workers, and what becomes of a batch that failed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from shared.errors import SkimError, Unavailable
from shared.store import Store


class Queue(Protocol):
    """Takes messages for the workers."""

    def enqueue(self, job_id: str, document_ids: Sequence[str]) -> None:
        """Leave one message; `Unavailable` if it cannot be taken."""


class Dispatcher:
    """Puts the documents of a job on the queue, a batch a message.

    A message may be lost or come twice: what is still to do is in the job's record. A queued document is
    leased, so that the sweeper leaves it alone for a while.

    Args:
        store: holds the jobs.
        queue: takes the messages.
        batch_size: documents of one message.
        seconds: how long a document may lie on the queue.
    """

    def __init__(self, store: Store, queue: Queue, *, batch_size: int, seconds: float) -> None:
        self._store = store
        self._queue = queue
        self._batch_size = batch_size
        self._seconds = seconds

    def dispatch(self, job_id: str, document_ids: Sequence[str]) -> None:
        """Queue documents; `Unavailable` leaves the rest for the sweeper."""
        self._dispatch(job_id, document_ids, self._batch_size)

    def sweep(self, limit: int) -> int:
        """Queue again what waits and is in nobody's hands; return how many documents."""
        abandoned = self._store.abandoned(limit)
        for job_id, document_ids in abandoned.items():
            self.dispatch(job_id, document_ids)
        return sum(map(len, abandoned.values()))

    def give_up(self, job_id: str, document_ids: Sequence[str], error: BaseException) -> None:
        """End a batch that failed for good: its documents are tried one by one, a single one has failed.

        Where something was away for too long, trying them one by one would change nothing; a remap's
        then wait for the sweeper, since nobody waits for them and labels left behind would stay so.
        """
        if isinstance(error, Unavailable) and self._store.remap_of(job_id) is not None:
            return
        if len(document_ids) > 1 and not isinstance(error, Unavailable):
            self._dispatch(job_id, document_ids, batch_size=1)
            return
        reason = str(error) if isinstance(error, SkimError) else f"{type(error).__name__}: {error}"
        for document_id in document_ids:
            self._store.finish_document(job_id, document_id, error=reason)

    def _dispatch(self, job_id: str, document_ids: Sequence[str], batch_size: int) -> None:
        for start in range(0, len(document_ids), batch_size):
            batch = document_ids[start : start + batch_size]
            self._queue.enqueue(job_id, batch)
            self._store.lease(job_id, batch, self._seconds)
