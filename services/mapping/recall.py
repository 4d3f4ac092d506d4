"""Which share of the true neighbours an index finds, and how widely it must search to find nearly all."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from services.mapping.train_query_index import TrainQueryIndex

ENOUGH_RECALL = 0.99
SAMPLE = 2_000
"""Vectors looked from; 500 said .998 where other texts found .993."""
_AIM = 0.995
"""What a search is widened to: a sample says it within some thousandths, and other texts must find .99 as well."""
NARROWEST_EF = 64
"""Where the widening begins."""
_LARGEST_EF = 1_024
_NEIGHBOURS, _TAU = 10, 0.6


class NeighboursAboveTau:
    """The true neighbours of some vectors, against which what an index finds is counted.

    Args:
        index: is searched exactly, once.
        vectors: (any, dimensions) float32 unit vectors to look from.
        k: neighbours looked for.
        tau: a cosine.
    """

    def __init__(
        self,
        index: TrainQueryIndex,
        vectors: NDArray[np.float32],
        *,
        k: int = _NEIGHBOURS,
        tau: float = _TAU,
    ) -> None:
        self._index, self._vectors, self._k = index, vectors, k
        positions, cosines = index.search_exactly(vectors, k)
        self._above: list[set[int]] = [
            set(row[near >= tau].tolist()) for row, near in zip(positions, cosines, strict=True)
        ]

    def recall(self) -> float:
        """Return the share that the index finds as it searches now; 1 if there are none."""
        found, _ = self._index.search(self._vectors, self._k)
        wanted = sum(map(len, self._above))
        hits = sum(
            len(above & set(row)) for above, row in zip(self._above, found.tolist(), strict=True)
        )
        return hits / wanted if wanted else 1.0


def recall_above_tau(
    index: TrainQueryIndex,
    vectors: NDArray[np.float32],
    *,
    k: int = _NEIGHBOURS,
    tau: float = _TAU,
) -> float:
    """Return the share of the exact neighbours above tau that the index finds; see `NeighboursAboveTau`."""
    return NeighboursAboveTau(index, vectors, k=k, tau=tau).recall()


def widen(index: TrainQueryIndex, vectors: NDArray[np.float32]) -> float:
    """Let the index search as widely as it takes to find .995 of the neighbours above tau, to a tenth; return the share it finds.

    Args:
        index: is widened, up to 1,024 neighbours kept while searching.
        vectors: (any, dimensions) of what will be looked for, synthetic queries, or of the like (`beside`).
    """
    neighbours = NeighboursAboveTau(index, vectors)

    def _recall_at(ef: int) -> float:
        index.widen(ef)
        return neighbours.recall()

    narrow = wide = index.ef
    found = neighbours.recall()
    while found < _AIM and wide < _LARGEST_EF:
        narrow, wide = wide, min(2 * wide, _LARGEST_EF)
        found = _recall_at(wide)
    while found >= _AIM and wide - narrow > max(1, narrow // 10):
        middle = math.ceil(math.sqrt(narrow * wide))
        recall = _recall_at(middle)
        if recall >= _AIM:
            wide, found = middle, recall
        else:
            narrow = middle
    index.widen(wide)
    return found


def beside(vectors: NDArray[np.float32], size: int) -> NDArray[np.float32]:
    """Return (size, dimensions) unit vectors: one of these each, plus three quarters of the difference of two others.

    They are near to train queries and none of them, as synthetic queries are, and find their neighbours less easily than
    those do, so that a search that is wide enough for them is for texts; with half the difference they found them
    more easily, and vectors of the index more easily still.
    """
    first, second, third = np.random.default_rng(0).integers(len(vectors), size=(3, size))
    moved = vectors[first] + np.float32(0.75) * (vectors[second] - vectors[third])
    lengths = np.linalg.norm(moved, axis=1, keepdims=True)
    return np.asarray(moved / np.maximum(lengths, 1e-6), dtype=np.float32)
