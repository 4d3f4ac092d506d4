"""What a bundle tells beside vectors: how scores become probabilities, what to check it with, what taught each ad."""

from __future__ import annotations

import math

from pydantic import Field

from shared.contracts.base import Contract, Identifier, QueryText

CANARIES = "canaries.jsonl"
LESSONS = "lessons.jsonl"
MIN_OVERLAP = 0.8
"""Share of the canaries' ads that an opened bundle must find again: less than all, since int8 differs by processor."""


class ScoreCalibration(Contract):
    """The probability of a click is 1 / (1 + exp(-(slope x score + intercept))): it grows with the score."""

    slope: float = Field(gt=0, allow_inf_nan=False)
    intercept: float = Field(allow_inf_nan=False)
    queries: int = 0
    """Validation queries it was fitted on."""
    clicks: int = 0

    def probability(self, score: float) -> float:
        """Return the probability of a score, an inner product."""
        logit = self.slope * score + self.intercept
        if logit >= 0:
            return 1 / (1 + math.exp(-min(logit, 700.0)))
        power = math.exp(max(logit, -700.0))
        return power / (1 + power)


class Canary(Contract):
    """A query and the ads it must find: what an opened bundle is asked before it serves."""

    query: QueryText
    ads: list[Identifier]
    """Best first, by exact search of the bundle's own vectors."""


class TaughtQuery(Contract):
    """A query that an ad was trained on."""

    query: str
    count: float | None = None
    """Clicks, of a click."""
    similarity: float | None = None
    """Of an augmented label."""


class Lessons(Contract):
    """What taught an ad: line n of `lessons.jsonl` belongs to ad n. At most some of each, with how many there were."""

    clicks: list[TaughtQuery] = Field(default_factory=list)
    labels: list[TaughtQuery] = Field(default_factory=list)
    synthetic_queries: list[str] = Field(default_factory=list)
    totals: tuple[int, int, int] = (0, 0, 0)
    """Clicked queries, labels and synthetic queries in all."""
