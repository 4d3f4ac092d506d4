"""HNSW graphs side by side, each of some thousand rows: built beside one another, searched one after the other."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import accumulate, pairwise
from pathlib import Path
from typing import Protocol, Self

import hnswlib
import numpy as np
from numpy.typing import NDArray

from shared.errors import Damaged

ROWS_PER_SEGMENT = 131_072
"""Fewer make a shorter wait and a slower search, which looks into every segment."""
_SEED = 1
_ROWS_INSERTED, _ROWS_READ = 2_048, 8_192

Vectors = NDArray[np.float32]
"""(any, dimensions) float32 unit vectors."""
Found = tuple[NDArray[np.int64], NDArray[np.float32]]
"""Positions and cosines, nearest first."""


@dataclass(frozen=True)
class HnswParameters:
    """What fixes a graph: more of either is a better graph and a slower, larger one."""

    m: int = 16
    ef_construction: int = 200


class Kept(Protocol):
    """Keeps segments over the end of a build that is killed."""

    def segment(self, vectors: Vectors, parameters: HnswParameters) -> hnswlib.Index | None:
        """Return the graph of these vectors, None if it is not kept."""

    def keep_segment(
        self, vectors: Vectors, parameters: HnswParameters, graph: hnswlib.Index
    ) -> None:
        """Keep the graph of vectors."""


class SegmentedGraph:
    """HNSW over consecutive rows in segments. Safe to search from several threads.

    hnswlib reads, writes and frees a graph while it holds the interpreter, so what one answer may wait for is bounded by a
    segment, not by the index. One core builds a segment: the same rows make the same graph, which threads that
    insert into one graph do not. And what is missed does not grow with the number of rows.

    Args:
        segments: filled hnswlib indexes, whose labels are their own rows from 0.
    """

    def __init__(self, segments: Sequence[hnswlib.Index]) -> None:
        self.segments = segments
        sizes = [segment.get_current_count() for segment in segments]
        self._starts = np.array([0, *accumulate(sizes)], dtype=np.int64)

    def __len__(self) -> int:
        return int(self._starts[-1])

    @property
    def dimensions(self) -> int:
        """Return the length of the vectors."""
        return int(self.segments[0].dim)

    @classmethod
    def build(
        cls,
        vectors: Vectors,
        parameters: HnswParameters,
        *,
        rows_per_segment: int | None = None,
        threads: int | None = None,
        tell: Callable[[int], None] = lambda rows: None,
        kept: Kept | None = None,
    ) -> Self:
        """Build the segments of (rows, dimensions) vectors, a core each.

        Args:
            vectors: at least one.
            parameters: of each graph.
            rows_per_segment: at most, `ROWS_PER_SEGMENT` if absent; they are of nearly one size.
            threads: segments built at once; all cores if absent.
            tell: hears how many rows are inserted; if it raises, the building ends.
            kept: segments of a build that was killed, and of this one should it be; a single segment is not worth it.
        """
        count = -(-len(vectors) // (rows_per_segment or ROWS_PER_SEGMENT))
        bounds = np.linspace(0, len(vectors), count + 1).astype(int).tolist()
        inserted, telling, is_over = 0, threading.Lock(), threading.Event()

        def _tell(rows: int) -> None:
            nonlocal inserted
            with telling:
                inserted += rows
                tell(inserted)

        def _insert(bound: tuple[int, int]) -> hnswlib.Index:
            rows = vectors[slice(*bound)]
            if kept is not None and count > 1 and (known := kept.segment(rows, parameters)):
                _tell(len(rows))
                return known
            graph = hnswlib.Index(space="ip", dim=vectors.shape[1])
            graph.init_index(
                max_elements=len(rows),
                M=parameters.m,
                ef_construction=parameters.ef_construction,
                random_seed=_SEED,
            )
            for start in range(0, len(rows), _ROWS_INSERTED):
                if is_over.is_set():
                    return graph
                step = rows[start : start + _ROWS_INSERTED]
                graph.add_items(step, np.arange(start, start + len(step)), num_threads=1)
                _tell(len(step))
            if kept is not None and count > 1:
                kept.keep_segment(rows, parameters, graph)
            return graph

        with ThreadPoolExecutor(threads or os.cpu_count()) as pool:
            try:
                return cls(list(pool.map(_insert, pairwise(bounds))))
            finally:
                is_over.set()

    @classmethod
    def load(cls, files: Sequence[Path], dimensions: int) -> Self:
        """Read segments from files, and after each let those who waited for it have as long for themselves.

        An answer takes the interpreter many times: were the next segment read at once, it would wait for that as well.

        Raises:
            Damaged: hnswlib does not read a file.
        """
        segments = []
        for file in files:
            graph = hnswlib.Index(space="ip", dim=dimensions)
            started = time.monotonic()
            try:
                graph.load_index(str(file))
            except RuntimeError as error:
                raise Damaged(f"{file}: {error}") from error
            segments.append(graph)
            if len(files) > 1:
                time.sleep(time.monotonic() - started)
        return cls(segments)

    def set_ef(self, ef: int) -> None:
        """Keep so many neighbours while searching a segment; not beside searches."""
        for segment in self.segments:
            segment.set_ef(ef)

    def search(self, vectors: Vectors, k: int) -> Found:
        """Return the nearest rows of (any, dimensions) vectors, each (any, k).

        Args:
            vectors: at least one.
            k: from 1 to the number of rows.

        Raises:
            RuntimeError: a graph reaches fewer rows from its entry point.
        """
        labels, cosines = [], []
        for segment, (start, end) in zip(self.segments, pairwise(self._starts), strict=True):
            found, distances = segment.knn_query(vectors, k=min(k, end - start), num_threads=1)
            labels.append(found.astype(np.int64) + start)
            cosines.append(1 - distances)
        positions, nearest = in_order(np.hstack(labels), np.hstack(cosines))
        return positions[:, :k], nearest[:, :k]

    def vectors(self, rows: NDArray[np.int64]) -> Vectors:
        """Return the vectors of rows, (rows, dimensions)."""
        vectors = np.empty((len(rows), self.dimensions), dtype=np.float32)
        numbers = np.searchsorted(self._starts, rows, side="right") - 1
        for number, segment in enumerate(self.segments):
            places = np.flatnonzero(numbers == number)
            for start in range(0, len(places), _ROWS_READ):
                chosen = places[start : start + _ROWS_READ]
                own = rows[chosen] - self._starts[number]
                vectors[chosen] = segment.get_items(own, return_type="numpy")
        return vectors


def in_order(positions: NDArray[np.int64], cosines: NDArray[np.float32]) -> Found:
    """Sort each row by falling cosine, then by position."""
    order = np.lexsort((positions, -cosines))
    return np.take_along_axis(positions, order, axis=1), np.take_along_axis(
        cosines, order, axis=1
    ).astype(np.float32)
