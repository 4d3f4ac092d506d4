"""Train queries that a document's synthetic queries come near to, before anything is decided."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from shared.dataset import Query


class Reach(NamedTuple):
    """One synthetic query comes near to a train query."""

    position: int
    """Of the synthetic query among its document's."""
    similarity: float
    """Cosine."""
    rank: int
    """The train query's place among the synthetic query's neighbours, from 1."""


class Candidate(NamedTuple):
    """A train query that a document may gain, and all that leads to it, at least one."""

    query: Query
    reached_by: Sequence[Reach]

    @property
    def best(self) -> Reach:
        """Return the most similar; of equals the one of better rank, then the one written first."""
        if len(self.reached_by) == 1:
            return self.reached_by[0]
        return min(
            self.reached_by, key=lambda reach: (-reach.similarity, reach.rank, reach.position)
        )
