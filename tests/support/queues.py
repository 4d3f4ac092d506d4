"""The workers' queue without Redis."""

from __future__ import annotations

from collections.abc import Sequence

from shared.errors import Unavailable


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
