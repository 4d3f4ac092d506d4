"""The workers' queue without Redis."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from shared.errors import Unavailable
from shared.store import Store


class FakeQueue:
    """Keeps its messages; away while `is_away`."""

    def __init__(self) -> None:
        self.messages: list[tuple[str, list[str]]] = []
        self.is_away = False

    def enqueue(self, job_id: str, document_ids: Sequence[str]) -> None:
        if self.is_away:
            raise Unavailable("the queue is away")
        self.messages.append((job_id, list(document_ids)))

    def waiting(self) -> int:
        if self.is_away:
            raise Unavailable("the queue is away")
        return len(self.messages)


class FinishingQueue(FakeQueue):
    """Has every document worked off at once: by turns it fails, and is done.

    Args:
        store: counts them.
    """

    def __init__(self, store: Store) -> None:
        super().__init__()
        self._store = store
        self._unlucky = itertools.cycle((True, False))

    def enqueue(self, job_id: str, document_ids: Sequence[str]) -> None:
        for document_id in document_ids:
            error = "unlucky" if next(self._unlucky) else None
            self._store.finish_document(job_id, document_id, error=error)
