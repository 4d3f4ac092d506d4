"""HNSW over the vectors of the train queries, and what changed since it was built: build, search, put, delete."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Self

import numpy as np
from numpy.typing import NDArray

from services.mapping.query_list import QueryList
from services.mapping.segmented_graph import (
    Found,
    HnswParameters,
    Kept,
    SegmentedGraph,
    Vectors,
)
from services.mapping.train_query_checks import by_id, check_split
from services.mapping.train_query_view import TrainQueryView, check_vectors
from shared.dataset import Query
from shared.errors import InvalidInput

DEFAULT_PARAMETERS = HnswParameters()
DEFAULT_EF = 128
_EF_OF_SEVERAL = 64
"""Where there are several segments each has few of the neighbours: less will do to begin with."""

Progress = Callable[[int, int], None]
"""Called with the train queries done so far and their total."""


class TrainQueryIndex:
    """Finds the train queries nearest to a vector. Safe to search and change from several threads.

    What is put is searched exactly until the graph is built anew (`compacted`), what is deleted is passed over.

    Args:
        graph: of the vectors of `queries`, in their order.
        queries: the train queries, at least one, each id once.
        encoder: name of the encoder of the vectors.
        parameters: how the graph was built.
        ef: neighbours kept while searching; more is a better and slower search.
        version: see there.
    """

    def __init__(
        self,
        graph: SegmentedGraph,
        queries: QueryList,
        *,
        encoder: str,
        parameters: HnswParameters,
        ef: int = DEFAULT_EF,
        version: int = 0,
    ) -> None:
        self.encoder = encoder
        self.dimensions = graph.dimensions
        self.parameters = parameters
        self.ef = ef
        graph.set_ef(ef)
        self._changing = threading.Lock()
        self._positions = {query_id: position for position, query_id in enumerate(queries.ids)}
        self._state = TrainQueryView(
            graph,
            queries,
            (),
            np.empty((0, graph.dimensions), dtype=np.float32),
            np.zeros(len(queries), dtype=np.bool_),
            version,
        )

    def __len__(self) -> int:
        state = self._state
        return len(state.is_deleted) - state.deleted

    @property
    def version(self) -> int:
        """Return a number that grows with every change to the train queries; 0 before the first."""
        return self._state.version

    @property
    def queries(self) -> QueryList:
        """Return the train queries there are, by position."""
        return self._state.live_queries()

    @property
    def graph(self) -> SegmentedGraph:
        """Return the graph, without what was put since it was built and with what was deleted."""
        return self._state.graph

    @property
    def changed(self) -> tuple[int, float]:
        """Return how many were put since the graph was built, and which share of all is deleted."""
        state = self._state
        return len(state.recent), state.deleted / max(len(state.is_deleted), 1)

    @classmethod
    def build(
        cls,
        queries: Sequence[Query],
        vectors: Vectors,
        *,
        encoder: str,
        parameters: HnswParameters = DEFAULT_PARAMETERS,
        ef: int | None = None,
        threads: int | None = None,
        version: int = 0,
        progress: Progress | None = None,
        kept: Kept | None = None,
    ) -> Self:
        """Build the graph in memory.

        Args:
            queries: train queries only, at least one, each id once.
            vectors: (queries, dimensions) float32 unit vectors.
            encoder: name of the encoder that made them.
            parameters: of the graph.
            ef: neighbours kept while searching; if absent, what is usual.
            threads: cores to build with; all if absent.
            version: of these train queries.
            progress: told how many are in the graph.
            kept: see `SegmentedGraph.build`.

        Raises:
            InvalidInput: no queries, one that is not of the train split, an id twice, or vectors that do not fit.
        """
        check_split(queries)
        if len({query.id for query in queries}) < len(queries):
            by_id(queries)  # names the two texts of an id
            raise InvalidInput("a train query id occurs twice")
        dimensions = vectors.shape[-1]
        check_vectors(vectors, dimensions)
        if len(vectors) != len(queries):
            raise InvalidInput(f"{len(vectors)} vectors for {len(queries)} train queries")
        graph = SegmentedGraph.build(
            vectors,
            parameters,
            threads=threads,
            tell=lambda rows: progress(rows, len(queries)) if progress is not None else None,
            kept=kept,
        )
        return cls(
            graph,
            QueryList.of(queries),
            encoder=encoder,
            parameters=parameters,
            ef=ef or (DEFAULT_EF if len(graph.segments) == 1 else _EF_OF_SEVERAL),
            version=version,
        )

    def get(self, query_id: str) -> Query | None:
        """Return a train query, None if it is not there."""
        state = self._state
        position = self._position(state, query_id)
        return None if position is None else state.query(position)

    def put(self, queries: Sequence[Query], vectors: Vectors, *, version: int) -> None:
        """Add train queries, or give known ids another text; the next search finds them.

        Args:
            queries: train queries, each id once.
            vectors: (queries, dimensions) float32 unit vectors.
            version: of the train queries from now on.

        Raises:
            InvalidInput: vectors that do not fit.
        """
        check_vectors(vectors, self.dimensions)
        if len(vectors) != len(queries):
            raise InvalidInput(f"{len(vectors)} vectors for {len(queries)} train queries")
        with self._changing:
            state = self._state
            is_deleted = np.concatenate([state.is_deleted, np.zeros(len(queries), np.bool_)])
            for place, query in enumerate(queries):
                known = self._positions.get(query.id)
                if known is not None:
                    is_deleted[known] = True
                self._positions[query.id] = len(state.is_deleted) + place
            self._state = replace(
                state,
                recent=[*state.recent, *queries],
                recent_vectors=np.concatenate([state.recent_vectors, vectors]),
                is_deleted=is_deleted,
                version=version,
                deleted=int(np.count_nonzero(is_deleted)),
                deleted_in_graph=int(np.count_nonzero(is_deleted[: len(state.queries)])),
            )

    def delete(self, query_ids: Sequence[str], *, version: int) -> None:
        """Take train queries out; unknown ids change nothing. No later search finds them."""
        with self._changing:
            is_deleted = self._state.is_deleted.copy()
            for query_id in query_ids:
                known = self._positions.pop(query_id, None)
                if known is not None:
                    is_deleted[known] = True
            self._state = replace(
                self._state,
                is_deleted=is_deleted,
                version=version,
                deleted=int(np.count_nonzero(is_deleted)),
                deleted_in_graph=int(np.count_nonzero(is_deleted[: len(self._state.queries)])),
            )

    def widen(self, ef: int) -> None:
        """Keep more neighbours while searching; not beside searches."""
        self.ef = ef
        self._state.graph.set_ef(ef)

    def touch(self, version: int) -> None:
        """Take another version, where something else changed that decides on labels."""
        with self._changing:
            self._state = replace(self._state, version=version)

    def rebuilder(self) -> Callable[[], TrainQueryIndex]:
        """Return what builds a new index of the train queries there are now, all of them in its graph.

        It raises `InvalidInput` if there are none.
        """
        state = self._state

        def _rebuild() -> TrainQueryIndex:
            rows = np.flatnonzero(~state.is_deleted)
            return TrainQueryIndex.build(
                state.live_queries(),
                state.vectors(rows),
                encoder=self.encoder,
                parameters=self.parameters,
                ef=self.ef,
                version=state.version,
            )

        return _rebuild

    def become(self, other: TrainQueryIndex) -> None:
        """Hold from now on what another index holds; searches under way finish on the old one."""
        with self._changing:
            self._positions, self._state = other._positions, other._state

    def nearest(self, vectors: Vectors, k: int) -> list[list[tuple[Query, float]]]:
        """Return each vector's train queries with their cosines, nearest first; see `search`."""
        state = self._state
        positions, cosines = state.search(vectors, k)
        return [
            [(state.query(position), cosine) for position, cosine in zip(*row, strict=True)]
            for row in zip(positions.tolist(), cosines.tolist(), strict=True)
        ]

    def similarities(
        self, vectors: Vectors, query_ids: Sequence[str]
    ) -> tuple[list[Query], NDArray[np.float32]]:
        """Return those of the train queries that there are, and their cosines, (vectors, found)."""
        state = self._state
        known = (self._position(state, query_id) for query_id in query_ids)
        positions = np.array([each for each in known if each is not None], dtype=np.int64)
        cosines: NDArray[np.float32] = vectors @ state.vectors(positions).T
        return [state.query(int(position)) for position in positions], cosines.clip(-1, 1)

    def sample(self, size: int, seed: int) -> Vectors:
        """Return the vectors of at most `size` train queries drawn at random, (drawn, dimensions)."""
        state = self._state
        live = np.flatnonzero(~state.is_deleted)
        return state.vectors(np.random.default_rng(seed).permutation(live)[:size])

    def search(self, vectors: Vectors, k: int) -> Found:
        """Return positions and cosines, each (vectors, min(k, size)), nearest first.

        A position stays a train query's own until the index is compacted; in one just built it is its place.

        Args:
            vectors: (any number, dimensions) float32 unit vectors.
            k: at least 1. Equal cosines are ordered by position.

        Raises:
            InvalidInput: the vectors have another dimension or are not finite, or k is below 1.
        """
        return self._state.search(vectors, k)

    def search_exactly(self, vectors: Vectors, k: int) -> Found:
        """Return what `search` approximates, by comparing with every train query."""
        return self._state.search_exactly(vectors, k)

    def _position(self, state: TrainQueryView, query_id: str) -> int | None:
        """Return where a train query stands in a view that may be a moment older than the positions."""
        position = self._positions.get(query_id)
        if position is None or position >= len(state.is_deleted) or state.is_deleted[position]:
            return None
        return position if state.query(position).id == query_id else None
