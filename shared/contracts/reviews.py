"""What people say of augmented labels: verdicts, kept apart from the labels they are about."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Self

from pydantic import Field, model_validator

from shared.contracts.base import Contract, Identifier

MAX_REVIEWS_PER_REQUEST = 1_000


class ReviewVerdict(StrEnum):
    """What a person found: the document is right for the train query, or it is not."""

    ACCEPT = "accept"
    REJECT = "reject"


class Verdict(Contract):
    """A verdict that is put; null takes back the one there is."""

    document_id: Identifier
    query_id: Identifier
    """Of the train query."""
    verdict: ReviewVerdict | None


class VerdictsRequest(Contract):
    """Verdicts on distinct pairs: all are kept, or none."""

    reviews: list[Verdict] = Field(min_length=1, max_length=MAX_REVIEWS_PER_REQUEST)

    @model_validator(mode="after")
    def _pairs_are_distinct(self) -> Self:
        pairs = {(each.document_id, each.query_id) for each in self.reviews}
        if len(pairs) < len(self.reviews):
            raise ValueError("a document and a train query occur together twice")
        return self


class VerdictsKept(Contract):
    """What became of verdicts that were put."""

    kept: int
    withdrawn: int
    """There was one, and null was put."""


class Review(Contract):
    """One line of `GET /v1/reviews`: a verdict, whatever labels the document has now."""

    document_id: Identifier
    query_id: Identifier
    verdict: ReviewVerdict
    reviewed_at: datetime
