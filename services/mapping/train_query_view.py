"""The train queries at one moment, and the search among them: a graph, and what was put and deleted since it was built."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from services.mapping.query_list import QueryList
from services.mapping.segmented_graph import Found, SegmentedGraph, Vectors, in_order
from shared.dataset import Query
from shared.errors import InvalidInput

_ROWS_PER_STEP = 1_024


@dataclass(frozen=True)
class TrainQueryView:
    """The train queries at one moment. Searches take it once; a change makes another and leaves this one as it is.

    Positions are rows of the graph first, then what was put since it was built.
    """

    graph: SegmentedGraph
    """Its rows are the first positions."""
    queries: QueryList
    """Of the graph."""
    recent: Sequence[Query]
    """Put since; their positions follow."""
    recent_vectors: Vectors
    is_deleted: NDArray[np.bool_]
    """(positions,)"""
    version: int
    deleted: int = 0
    deleted_in_graph: int = 0
    """Both are counted when something changes, not by every search."""

    def query(self, position: int) -> Query:
        """Return the train query of a position."""
        size = len(self.queries)
        return self.queries[position] if position < size else self.recent[position - size]

    def live_queries(self) -> QueryList:
        """Return the train queries there are, by position."""
        rows = np.flatnonzero(~self.is_deleted).tolist()
        return QueryList.of(self.query(row) for row in rows)

    def vectors(self, positions: NDArray[np.int64]) -> Vectors:
        """Return the vectors of positions, (positions, dimensions)."""
        size = len(self.queries)
        in_graph = positions < size
        vectors = np.empty((len(positions), self.graph.dimensions), dtype=np.float32)
        vectors[in_graph] = self.graph.vectors(positions[in_graph])
        vectors[~in_graph] = self.recent_vectors[positions[~in_graph] - size]
        return vectors

    def search(self, vectors: Vectors, k: int) -> Found:
        """Return positions and cosines of the nearest, each (vectors, min(k, size)); see `TrainQueryIndex.search`."""
        k = self._checked(vectors, k)
        if not len(vectors) or not k:
            return np.empty((len(vectors), k), np.int64), np.empty((len(vectors), k), np.float32)
        size, in_graph = len(self.queries), self.is_deleted[: len(self.queries)]
        live = size - self.deleted_in_graph
        if not live:
            return self.search_exactly(vectors, k)
        wanted = min(k, live)
        asked = wanted
        while True:  # rows that were deleted take places: ask for more until enough are left
            try:
                positions, cosines = self.graph.search(vectors, asked)
            except RuntimeError:  # a graph reaches fewer rows from its entry point
                return self.search_exactly(vectors, k)
            cosines = np.where(in_graph[positions], np.float32(-np.inf), cosines)
            if asked == size or (np.isfinite(cosines).sum(axis=1) >= wanted).all():
                break
            asked = min(2 * asked, size)
        if len(self.recent):
            recent = self._recent_cosines(vectors)
            rows = np.broadcast_to(np.arange(size, size + recent.shape[1]), recent.shape)
            positions, cosines = np.hstack([positions, rows]), np.hstack([cosines, recent])
        positions, cosines = in_order(positions, cosines)
        return positions[:, :k], cosines[:, :k].clip(-1, 1)

    def search_exactly(self, vectors: Vectors, k: int) -> Found:
        """Return what `search` approximates, by comparing with every train query."""
        k = self._checked(vectors, k)
        positions = np.full((len(vectors), k), -1, dtype=np.int64)
        cosines = np.full((len(vectors), k), -np.inf, dtype=np.float32)
        live = np.flatnonzero(~self.is_deleted)
        for start in range(0, len(live), _ROWS_PER_STEP) if k else ():
            rows = live[start : start + _ROWS_PER_STEP]
            step = vectors @ self.vectors(rows).T
            is_nearer = (step > cosines[:, -1:]).any(axis=1)
            of_step = np.broadcast_to(rows, step.shape)
            merged, merged_cosines = in_order(
                np.hstack([positions[is_nearer], of_step[is_nearer]]),
                np.hstack([cosines[is_nearer], step[is_nearer]]),
            )
            positions[is_nearer] = merged[:, :k]
            cosines[is_nearer] = merged_cosines[:, :k]
        return positions, cosines.clip(-1, 1)

    def _checked(self, vectors: Vectors, k: int) -> int:
        check_vectors(vectors, self.graph.dimensions)
        if k < 1:
            raise InvalidInput(f"k is {k}, expected at least 1")
        return min(k, len(self.is_deleted) - self.deleted)

    def _recent_cosines(self, vectors: Vectors) -> NDArray[np.float32]:
        cosines: NDArray[np.float32] = vectors @ self.recent_vectors.T
        cosines[:, self.is_deleted[len(self.queries) :]] = -np.inf
        return cosines


def check_vectors(vectors: Vectors, dimensions: int) -> None:
    """Raise `InvalidInput` unless they are (any, dimensions) and finite."""
    if vectors.ndim != 2 or vectors.shape[1] != dimensions:
        raise InvalidInput(f"vectors of shape {vectors.shape}, expected (any, {dimensions})")
    if not np.isfinite(vectors).all():
        raise InvalidInput("vectors hold NaN or infinity")
