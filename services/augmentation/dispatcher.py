"""Who gets which documents: batches for the workers, and what is in nobody's hands."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from shared.store import Store

_CLAIM_SECONDS = 30.0
"""A sweeper that dies between its claim and its message leaves documents alone for so long."""


class Queue(Protocol):
    """Takes messages for the workers."""

    def enqueue(self, job_id: str, document_ids: Sequence[str]) -> None:
        """Leave one message; `Unavailable` if it cannot be taken."""

    def waiting(self) -> int:
        """Return how many messages no worker has taken yet; `Unavailable` if it does not answer."""


class Dispatcher:
    """Puts the documents of a job on the queue, a batch a message.

    A message may be lost or come twice: what is still to do is in the job's record. A queued document is
    leased, so that the sweeper leaves it alone for a while.

    Args:
        store: holds the jobs.
        queue: takes the messages.
        batch_size: documents of one message.
        seconds: how long a document may lie on the queue.
        longest_seconds: of any lease but these; one that ends later was made by a clock put back since.
    """

    def __init__(
        self,
        store: Store,
        queue: Queue,
        *,
        batch_size: int,
        seconds: float,
        longest_seconds: float = 60.0,
    ) -> None:
        self._store = store
        self._queue = queue
        self._batch_size = batch_size
        self._seconds = seconds
        self._longest_seconds = max(longest_seconds, _CLAIM_SECONDS)

    def dispatch(self, job_id: str, document_ids: Sequence[str]) -> None:
        """Queue documents; `Unavailable` leaves the rest for the sweeper."""
        self._dispatch(job_id, document_ids, self._batch_size)

    def dispatch_apart(self, job_id: str, document_ids: Sequence[str]) -> None:
        """Queue documents each in a message of its own; `Unavailable` leaves the rest for the sweeper."""
        self._dispatch(job_id, document_ids, batch_size=1)

    def sweep(self, limit: int) -> int:
        """Queue again what waits and is in nobody's hands; return how many documents.

        Where the queue is long already, one batch is: most of what lies there for long has not lost its
        message but waits behind the others, and what has lost it would stand behind them too.
        """
        room = max(limit - self._queue.waiting() * self._batch_size, self._batch_size)
        claimed = self._store.claim(
            room, _CLAIM_SECONDS, max(self._seconds, self._longest_seconds)
        )
        for job_id, document_ids in claimed.items():
            self.dispatch(job_id, document_ids)
        return sum(map(len, claimed.values()))

    def _dispatch(self, job_id: str, document_ids: Sequence[str], batch_size: int) -> None:
        for start in range(0, len(document_ids), batch_size):
            batch = document_ids[start : start + batch_size]
            self._queue.enqueue(job_id, batch)
            self._store.lease(job_id, batch, self._seconds)
