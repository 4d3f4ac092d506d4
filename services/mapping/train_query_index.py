"""HNSW over the vectors of the train queries, and what changed since it was built: build, search, put, delete."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
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
    in_order,
)
from shared.dataset import Query
from shared.errors import InvalidInput

_ROWS_PER_STEP = 1_024
DEFAULT_PARAMETERS = HnswParameters()
DEFAULT_EF = 128
_EF_OF_SEVERAL = 64
"""Where there are several segments each has few of the neighbours: less will do to begin with."""

Progress = Callable[[int, int], None]
"""Called with the train queries done so far and their total."""


@dataclass(frozen=True)
class _State:
    """One consistent view. Searches take it once; a change makes another and leaves this one as it is."""

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
        size = len(self.queries)
        return self.queries[position] if position < size else self.recent[position - size]

    def live_queries(self) -> QueryList:
        rows = np.flatnonzero(~self.is_deleted).tolist()
        return QueryList.of(self.query(row) for row in rows)

    def vectors(self, positions: NDArray[np.int64]) -> Vectors:
        size = len(self.queries)
        in_graph = positions < size
        vectors = np.empty((len(positions), self.graph.dimensions), dtype=np.float32)
        vectors[in_graph] = self.graph.vectors(positions[in_graph])
        vectors[~in_graph] = self.recent_vectors[positions[~in_graph] - size]
        return vectors


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
        self._state = _State(
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
        _check_vectors(vectors, dimensions)
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
        _check_vectors(vectors, self.dimensions)
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
        positions, cosines = self._search(state, vectors, k)
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
        return self._search(self._state, vectors, k)

    def search_exactly(self, vectors: Vectors, k: int) -> Found:
        """Return what `search` approximates, by comparing with every train query."""
        return self._search_exactly(self._state, vectors, k)

    def _search(self, state: _State, vectors: Vectors, k: int) -> Found:
        k = self._checked(state, vectors, k)
        if not len(vectors) or not k:
            return np.empty((len(vectors), k), np.int64), np.empty((len(vectors), k), np.float32)
        size, in_graph = len(state.queries), state.is_deleted[: len(state.queries)]
        live = size - state.deleted_in_graph
        if not live:
            return self._search_exactly(state, vectors, k)
        wanted = min(k, live)
        asked = wanted
        while True:  # rows that were deleted take places: ask for more until enough are left
            try:
                positions, cosines = state.graph.search(vectors, asked)
            except RuntimeError:  # a graph reaches fewer rows from its entry point
                return self._search_exactly(state, vectors, k)
            cosines = np.where(in_graph[positions], np.float32(-np.inf), cosines)
            if asked == size or (np.isfinite(cosines).sum(axis=1) >= wanted).all():
                break
            asked = min(2 * asked, size)
        if len(state.recent):
            recent = _recent_cosines(state, vectors)
            rows = np.broadcast_to(np.arange(size, size + recent.shape[1]), recent.shape)
            positions, cosines = np.hstack([positions, rows]), np.hstack([cosines, recent])
        positions, cosines = in_order(positions, cosines)
        return positions[:, :k], cosines[:, :k].clip(-1, 1)

    def _search_exactly(self, state: _State, vectors: Vectors, k: int) -> Found:
        k = self._checked(state, vectors, k)
        positions = np.full((len(vectors), k), -1, dtype=np.int64)
        cosines = np.full((len(vectors), k), -np.inf, dtype=np.float32)
        live = np.flatnonzero(~state.is_deleted)
        for start in range(0, len(live), _ROWS_PER_STEP) if k else ():
            rows = live[start : start + _ROWS_PER_STEP]
            step = vectors @ state.vectors(rows).T
            is_nearer = (step > cosines[:, -1:]).any(axis=1)
            of_step = np.broadcast_to(rows, step.shape)
            merged, merged_cosines = in_order(
                np.hstack([positions[is_nearer], of_step[is_nearer]]),
                np.hstack([cosines[is_nearer], step[is_nearer]]),
            )
            positions[is_nearer] = merged[:, :k]
            cosines[is_nearer] = merged_cosines[:, :k]
        return positions, cosines.clip(-1, 1)

    def _position(self, state: _State, query_id: str) -> int | None:
        """Return where a train query stands in a view that may be a moment older than the positions."""
        position = self._positions.get(query_id)
        if position is None or position >= len(state.is_deleted) or state.is_deleted[position]:
            return None
        return position if state.query(position).id == query_id else None

    def _checked(self, state: _State, vectors: Vectors, k: int) -> int:
        _check_vectors(vectors, self.dimensions)
        if k < 1:
            raise InvalidInput(f"k is {k}, expected at least 1")
        return min(k, len(state.is_deleted) - state.deleted)


def check_split(queries: Sequence[Query]) -> None:
    """Raise `InvalidInput` unless there are queries and all are of the train split."""
    if not queries:
        raise InvalidInput("no train queries: expected at least one query with split 'train'")
    for _ in train_only(queries):
        pass


def train_only(queries: Iterable[Query]) -> Iterator[Query]:
    """Yield the queries; raise `InvalidInput` at one that is not of the train split."""
    for query in queries:
        if query.split != "train":
            raise InvalidInput(
                f"query {query.id!r} is of split {query.split!r}; only train queries are mapped to"
            )
        yield query


def by_id(queries: Sequence[Query]) -> Mapping[str, Query]:
    """Return the queries by id.

    Raises:
        InvalidInput: an id occurs with two texts.
    """
    known: dict[str, Query] = {}
    for query in queries:
        other = known.setdefault(query.id, query)
        if other.text != query.text:
            raise InvalidInput(
                f"train query id {query.id!r} occurs twice, as {other.text!r} and as {query.text!r}"
            )
    return known


def _recent_cosines(state: _State, vectors: Vectors) -> NDArray[np.float32]:
    cosines: NDArray[np.float32] = vectors @ state.recent_vectors.T
    cosines[:, state.is_deleted[len(state.queries) :]] = -np.inf
    return cosines


def _check_vectors(vectors: Vectors, dimensions: int) -> None:
    if vectors.ndim != 2 or vectors.shape[1] != dimensions:
        raise InvalidInput(f"vectors of shape {vectors.shape}, expected (any, {dimensions})")
    if not np.isfinite(vectors).all():
        raise InvalidInput("vectors hold NaN or infinity")
