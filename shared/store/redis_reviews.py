"""People's verdicts on labels, in Redis."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Any

import redis

from shared.contracts.reviews import Review, Verdict, VerdictsKept
from shared.errors import NotFound
from shared.store import keys, records, scripts

_PAGE = 200


class RedisReviews:
    """The part of a `RedisStore` that keeps verdicts."""

    _redis: redis.Redis

    def _asking(self) -> AbstractContextManager[None]:
        raise NotImplementedError

    def _register_reviews(self, client: redis.Redis) -> None:
        self._put_reviews = client.register_script(scripts.PUT_REVIEWS)

    def put_reviews(self, verdicts: Sequence[Verdict]) -> VerdictsKept:
        """Keep verdicts of people, or take them back."""
        rows = [
            value
            for each in verdicts
            for value in (each.document_id, each.query_id, each.verdict or "")
        ]
        with self._asking():
            found: Any = self._put_reviews(args=rows)
        if isinstance(found, str):
            raise NotFound(f"there is no document {found!r}")
        kept = sum(each.verdict is not None for each in verdicts)
        return VerdictsKept(kept=kept, withdrawn=found[0])

    def reviews(self, document_id: str) -> list[Review]:
        """Return the verdicts on a document, by train query."""
        with self._asking():
            found: Any = self._redis.hgetall(keys.REVIEWS + document_id)
        return records.reviews_of(document_id, found)

    def iterate_reviews(self) -> Iterator[Review]:
        """Yield all verdicts by document id, then by train query, in flat memory."""
        bound = "-"
        while True:
            with self._asking():
                ids: Any = self._redis.zrangebylex(keys.REVIEWED, bound, "+", start=0, num=_PAGE)
                pipeline = self._redis.pipeline(transaction=False)
                for document_id in ids:
                    pipeline.hgetall(keys.REVIEWS + document_id)
                found = pipeline.execute()
            for document_id, each in zip(ids, found, strict=True):
                yield from records.reviews_of(document_id, each)
            if len(ids) < _PAGE:
                return
            bound = f"({ids[-1]}"
