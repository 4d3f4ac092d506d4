"""What a bundle tells beside vectors: how scores become probabilities, what to check it with, what taught each ad."""

from __future__ import annotations

import math
from bisect import bisect_right
from itertools import pairwise
from typing import Self

from pydantic import Field, FiniteFloat, model_validator

from shared.contracts.base import Contract, Identifier, QueryText

CANARIES = "canaries.jsonl"
LESSONS = "lessons.jsonl"
MIN_OVERLAP = 0.8
"""Share of the canaries' ads that an opened bundle must find again: less than all, since int8 differs by processor."""


class ScoreCalibration(Contract):
    """The probability of a click by an ad's score: its log-odds are a line from knot to knot, which always rises."""

    knots: list[tuple[FiniteFloat, FiniteFloat]] = Field(min_length=2)
    """(score, log-odds), both strictly increasing; beyond the ends the line goes on."""
    queries: int = 0
    """Validation queries it was fitted on."""
    clicks: int = 0

    @model_validator(mode="after")
    def _rises(self) -> Self:
        for (score, logit), (later_score, later_logit) in pairwise(self.knots):
            if not (score < later_score and logit < later_logit):
                raise ValueError("expected knots whose scores and log-odds both grow")
        return self

    def probability(self, score: float) -> float:
        """Return the probability of a score, an inner product."""
        place = bisect_right(self.knots, score, key=_score_of)
        place = min(max(place, 1), len(self.knots) - 1)
        (left, low), (right, high) = self.knots[place - 1 : place + 1]
        logit = low + (score - left) * (high - low) / (right - left)
        if logit >= 0:
            return 1 / (1 + math.exp(-min(logit, 700.0)))
        power = math.exp(max(logit, -700.0))
        return power / (1 + power)


def _score_of(knot: tuple[float, float]) -> float:
    return knot[0]


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
