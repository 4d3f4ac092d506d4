"""One consistent state of the ads: a reader takes it once, a change makes another and leaves this one as it is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import faiss
import numpy as np
from numpy.typing import NDArray

from services.inference.filters import Conditions, matches
from services.inference.generation import Generation, Segment
from shared.ad_index import Allowed
from shared.contracts.document import MetadataValue

Found = tuple[NDArray[np.float32], NDArray[np.int64]]
"""Scores and positions, each (found,), best first."""


@dataclass(frozen=True)
class View:
    """The ads of a generation, then those in `extra`, then recent ones: positions run through all three.

    The recent lists may grow behind a view's back: it looks at no more than it has live flags for.
    """

    generation: Generation
    extra: Segment | None
    recent_rows: Sequence[bytes]
    recent_metadata: Sequence[Mapping[str, MetadataValue]]
    recent_vectors: NDArray[np.float32]
    """(at least the recent ads, dimensions)."""
    is_live: NDArray[np.bool_]
    """(positions,): False where an ad was deleted or has a newer position."""
    version: int

    @cached_property
    def live(self) -> int:
        """Return how many ads there are."""
        return int(np.count_nonzero(self.is_live))

    @property
    def recent_from(self) -> int:
        """Return the first position that is in no index."""
        extra = 0 if self.extra is None else len(self.extra.rows)
        return len(self.generation.base.rows) + extra

    def row(self, position: int) -> bytes:
        """Return an ad as JSON."""
        base = len(self.generation.base.rows)
        if position < base:
            return self.generation.base.rows[position]
        if self.extra is not None and position < self.recent_from:
            return self.extra.rows[position - base]
        return self.recent_rows[position - self.recent_from]

    def vector(self, position: int) -> NDArray[np.float32]:
        """Return an ad's (dimensions,) vector."""
        base = len(self.generation.base.rows)
        if position < base:
            return self.generation.base.index.vector(position)
        if self.extra is not None and position < self.recent_from:
            return self.extra.index.vector(position - base)
        vector: NDArray[np.float32] = self.recent_vectors[position - self.recent_from]
        return vector

    def search(
        self, vector: NDArray[np.float32], k: int, conditions: Conditions | None = None
    ) -> Found:
        """Return the `k` best live ads that match, or all if there are fewer.

        Args:
            vector: (dimensions,) float32.
            k: at least 1.
            conditions: all ads match if absent.
        """
        parts, start = [], 0
        for segment, everything in self._segments:
            size = len(segment.rows)
            allowed = everything
            if conditions is not None:
                live = self.is_live[start : start + size]
                allowed = Allowed(segment.columns.mask(conditions) & live)
            scores, positions = segment.index.search(vector[None], k, allowed)
            parts.append((scores[0], positions[0] + start))
            start += size
        if len(self.is_live) > start:
            parts.append(self._search_recent(vector, conditions, start))
        if len(parts) == 1:
            return parts[0]
        scores = np.concatenate([scores for scores, _ in parts])
        positions = np.concatenate([positions for _, positions in parts])
        best = np.lexsort((positions, -scores))[:k]
        return scores[best], positions[best]

    def matching(self, conditions: Conditions | None = None) -> NDArray[np.int64]:
        """Return the positions of the live ads that match, all that a search may return; not to be written to."""
        if conditions is None:
            return self._live_positions
        masks = [segment.columns.mask(conditions) for segment, _ in self._segments]
        start = self.recent_from
        indexed = np.flatnonzero(np.concatenate(masks) & self.is_live[:start])
        return np.concatenate([indexed, self._recent_places(conditions, start) + start])

    @cached_property
    def _live_positions(self) -> NDArray[np.int64]:
        return np.flatnonzero(self.is_live)

    @cached_property
    def _segments(self) -> Sequence[tuple[Segment, Allowed]]:
        """The indexes, each with which of its ads are live."""
        base, extra = self.generation.base, self.extra
        size = len(base.rows)
        segments = [(base, Allowed(self.is_live[:size]))]
        if extra is not None:
            segments.append((extra, Allowed(self.is_live[size : size + len(extra.rows)])))
        return segments

    def _search_recent(
        self, vector: NDArray[np.float32], conditions: Conditions | None, start: int
    ) -> Found:
        places = self._recent_places(conditions, start)
        scores = inner_products(vector, self.recent_vectors[: len(self.is_live) - start])[places]
        return scores, places + start

    def _recent_places(self, conditions: Conditions | None, start: int) -> NDArray[np.int64]:
        """Return which of the recent ads are live and match, from 0."""
        places = np.flatnonzero(self.is_live[start:])
        if conditions is None:
            return places
        fits = [matches(conditions, self.recent_metadata[place]) for place in places.tolist()]
        return places[np.array(fits, dtype=np.bool_)]


def inner_products(
    vector: NDArray[np.float32], vectors: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Return (rows,) float32, on the caller's core only: BLAS would take all and spin."""
    products = np.empty(len(vectors), dtype=np.float32)
    if len(vectors):
        faiss.fvec_inner_products_ny(
            faiss.swig_ptr(products),
            faiss.swig_ptr(np.ascontiguousarray(vector)),
            faiss.swig_ptr(vectors),
            vectors.shape[1],
            len(vectors),
        )
    return products
