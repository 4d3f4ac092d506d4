"""People's verdicts on labels, in memory."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime

from shared.contracts.reviews import Review, Verdict, VerdictsKept
from shared.store.memory_intake import Kept


class MemoryReviews:
    """The part of a `MemoryStore` that keeps verdicts."""

    _now: Callable[[], datetime]
    _lock: threading.RLock
    _documents: dict[str, Kept]

    def _kept(self, document_id: str) -> Kept:
        raise NotImplementedError

    def put_reviews(self, verdicts: Sequence[Verdict]) -> VerdictsKept:
        """Keep verdicts of people, or take them back."""
        with self._lock:
            of = [self._kept(each.document_id).reviews for each in verdicts]
            now, kept, withdrawn = self._now(), 0, 0
            for reviews, each in zip(of, verdicts, strict=True):
                if each.verdict is None:
                    withdrawn += reviews.pop(each.query_id, None) is not None
                    continue
                kept += 1
                reviews[each.query_id] = Review(
                    document_id=each.document_id,
                    query_id=each.query_id,
                    verdict=each.verdict,
                    reviewed_at=now,
                )
            return VerdictsKept(kept=kept, withdrawn=withdrawn)

    def reviews(self, document_id: str) -> list[Review]:
        """Return the verdicts on a document, by train query."""
        with self._lock:
            there = self._documents.get(document_id)
            return [there.reviews[each] for each in sorted(there.reviews)] if there else []

    def iterate_reviews(self) -> Iterator[Review]:
        """Yield all verdicts by document id, then by train query."""
        with self._lock:
            document_ids = sorted(self._documents)
        for document_id in document_ids:
            yield from self.reviews(document_id)
