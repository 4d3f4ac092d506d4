"""HNSW over the vectors of the train queries: build, save, load, search."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import hnswlib
import numpy as np
from numpy.typing import NDArray

from services.mapping.index_files import (
    BUILD_COMMAND,
    MANIFEST,
    IndexManifest,
    files_of,
    move_in,
    read_manifest,
    verify,
)
from shared.dataset import Query, read_queries, write_rows
from shared.errors import Conflict, Damaged, InvalidInput

_SEED = 1
_ROWS_PER_STEP = 1_024


@dataclass(frozen=True)
class HnswParameters:
    """What fixes the graph: more of either is a better graph and a slower, larger one."""

    m: int = 16
    ef_construction: int = 200


DEFAULT_PARAMETERS = HnswParameters()
REPRODUCIBLE_ROWS = 50_000
"""Up to so many train queries a graph is built on one core: the same queries, the same graph and labels.
Threads that insert at once race, and now and then leave a row that its own vector does not find."""
DEFAULT_EF = 128


class TrainQueryIndex:
    """Finds the train queries nearest to a vector. Safe to search from several threads.

    Args:
        graph: a filled hnswlib index whose labels are positions in `queries`.
        queries: the train queries, at least one.
        encoder: name of the encoder of the vectors.
        dimensions: length of the vectors.
        parameters: how the graph was built.
        ef: neighbours kept while searching; more is a better and slower search.
    """

    def __init__(
        self,
        graph: hnswlib.Index,
        queries: Sequence[Query],
        *,
        encoder: str,
        dimensions: int,
        parameters: HnswParameters,
        ef: int = DEFAULT_EF,
    ) -> None:
        self.queries = queries
        self.encoder = encoder
        self.dimensions = dimensions
        self.parameters = parameters
        self._graph = graph
        self._graph.set_ef(ef)

    def __len__(self) -> int:
        return len(self.queries)

    @classmethod
    def build(
        cls,
        queries: Sequence[Query],
        vectors: NDArray[np.float32],
        *,
        encoder: str,
        parameters: HnswParameters = DEFAULT_PARAMETERS,
        ef: int = DEFAULT_EF,
        threads: int | None = None,
    ) -> Self:
        """Build the graph in memory.

        Args:
            queries: train queries only, at least one.
            vectors: (queries, dimensions) float32 unit vectors.
            encoder: name of the encoder that made them.
            parameters: of the graph.
            ef: neighbours kept while searching.
            threads: cores to build with. If absent, 1 up to `REPRODUCIBLE_ROWS`, above that all.

        Raises:
            InvalidInput: no queries, one that is not of the train split, or vectors that do not fit.
        """
        check_split(queries)
        dimensions = vectors.shape[-1]
        _check_vectors(vectors, dimensions)
        if len(vectors) != len(queries):
            raise InvalidInput(f"{len(vectors)} vectors for {len(queries)} train queries")
        graph = hnswlib.Index(space="ip", dim=dimensions)
        graph.init_index(
            max_elements=len(queries),
            M=parameters.m,
            ef_construction=parameters.ef_construction,
            random_seed=_SEED,
        )
        if threads is None:
            threads = 1 if len(queries) <= REPRODUCIBLE_ROWS else os.cpu_count() or 1
        graph.add_items(vectors, np.arange(len(queries)), num_threads=threads)
        return cls(
            graph, queries, encoder=encoder, dimensions=dimensions, parameters=parameters, ef=ef
        )

    def save(self, folder: Path) -> None:
        """Write the index to `folder` and drop the one it replaces; readers see one or the other."""
        folder.mkdir(parents=True, exist_ok=True)
        replaced = files_of(folder)
        with tempfile.TemporaryDirectory(dir=folder, prefix=".new-") as scratch:
            new_graph, new_queries = Path(scratch) / "index.hnsw", Path(scratch) / "queries.jsonl"
            self._graph.save_index(str(new_graph))
            write_rows(new_queries, self.queries)
            manifest = IndexManifest(
                encoder=self.encoder,
                dimensions=self.dimensions,
                train_queries=len(self.queries),
                m=self.parameters.m,
                ef_construction=self.parameters.ef_construction,
                index=move_in(new_graph, folder),
                queries=move_in(new_queries, folder),
            )
            new_manifest = Path(scratch) / MANIFEST
            new_manifest.write_text(manifest.model_dump_json(indent=2) + "\n")
            new_manifest.replace(folder / MANIFEST)
        for name in replaced - {manifest.index.name, manifest.queries.name}:
            (folder / name).unlink(missing_ok=True)

    @classmethod
    def load(cls, folder: Path, *, encoder: str, dimensions: int, ef: int = DEFAULT_EF) -> Self:
        """Verify the files in `folder`, then load them.

        Args:
            folder: where `save` wrote.
            encoder: name of the encoder that will make the vectors searched with.
            dimensions: their length.
            ef: neighbours kept while searching.

        Raises:
            NotFound: there is no index.
            Damaged: a file is missing or is not what the manifest says.
            Conflict: the index was built with another encoder.
        """
        manifest = read_manifest(folder)
        if (manifest.encoder, manifest.dimensions) != (encoder, dimensions):
            raise Conflict(
                f"{folder}: built with {manifest.encoder} ({manifest.dimensions} dimensions), but "
                f"the encoder is {encoder} ({dimensions}); run `{BUILD_COMMAND}` again"
            )
        for entry in (manifest.index, manifest.queries):
            verify(folder, entry)
        queries = list(read_queries(folder / manifest.queries.name))
        check_split(queries)
        graph = hnswlib.Index(space="ip", dim=dimensions)
        graph.load_index(str(folder / manifest.index.name))
        if not len(queries) == manifest.train_queries == graph.get_current_count():
            raise Damaged(
                f"{folder}: the manifest says {manifest.train_queries} train queries, the list has "
                f"{len(queries)}, the graph {graph.get_current_count()}"
            )
        return cls(
            graph,
            queries,
            encoder=encoder,
            dimensions=dimensions,
            parameters=HnswParameters(manifest.m, manifest.ef_construction),
            ef=ef,
        )

    @property
    def version(self) -> int:
        """Return a number that grows with every change to the train queries; 0 before the first."""
        return 0

    def nearest(self, vectors: NDArray[np.float32], k: int) -> list[list[tuple[Query, float]]]:
        """Return each vector's train queries with their cosines, nearest first; see `search`."""
        positions, cosines = self.search(vectors, k)
        return [
            [(self.queries[position], cosine) for position, cosine in zip(*row, strict=True)]
            for row in zip(positions.tolist(), cosines.tolist(), strict=True)
        ]

    def similarities(
        self, vectors: NDArray[np.float32], query_ids: Sequence[str]
    ) -> tuple[list[Query], NDArray[np.float32]]:
        """Return those of the train queries that there are, and their cosines, (vectors, found)."""
        wanted = set(query_ids)
        positions = [row for row, query in enumerate(self.queries) if query.id in wanted]
        if not positions:
            return [], np.empty((len(vectors), 0), dtype=np.float32)
        found = self._graph.get_items(positions, return_type="numpy")
        return [self.queries[row] for row in positions], vectors @ found.T

    def search(
        self, vectors: NDArray[np.float32], k: int
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Return positions in `queries` and cosines, each (vectors, min(k, size)), nearest first.

        Args:
            vectors: (any number, dimensions) float32 unit vectors.
            k: at least 1. Equal cosines are ordered by position.

        Raises:
            InvalidInput: the vectors have another dimension or are not finite, or k is below 1.
        """
        k = self._checked(vectors, k)
        if not len(vectors):
            return np.empty((0, k), dtype=np.int64), np.empty((0, k), dtype=np.float32)
        try:
            labels, distances = self._graph.knn_query(vectors, k=k, num_threads=1)
        except RuntimeError:  # the graph reaches fewer than k rows from its entry point
            return self.search_exactly(vectors, k)
        return _in_order(labels.astype(np.int64), 1 - distances)

    def search_exactly(
        self, vectors: NDArray[np.float32], k: int
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Return what `search` approximates, by comparing with every train query."""
        k = self._checked(vectors, k)
        positions = np.empty((len(vectors), 0), dtype=np.int64)
        cosines = np.empty((len(vectors), 0), dtype=np.float32)
        for start in range(0, len(self), _ROWS_PER_STEP):
            rows = np.arange(start, min(start + _ROWS_PER_STEP, len(self)))
            step = vectors @ self._graph.get_items(rows, return_type="numpy").T
            positions, cosines = _in_order(
                np.hstack([positions, np.broadcast_to(rows, step.shape)]),
                np.hstack([cosines, step]),
            )
            positions, cosines = positions[:, :k], cosines[:, :k]
        return positions, cosines

    def _checked(self, vectors: NDArray[np.float32], k: int) -> int:
        _check_vectors(vectors, self.dimensions)
        if k < 1:
            raise InvalidInput(f"k is {k}, expected at least 1")
        return min(k, len(self))


def check_split(queries: Sequence[Query]) -> None:
    """Raise `InvalidInput` unless there are queries and all are of the train split."""
    if not queries:
        raise InvalidInput("no train queries: expected at least one query with split 'train'")
    for query in queries:
        if query.split != "train":
            raise InvalidInput(
                f"query {query.id!r} is of split {query.split!r}; only train queries are mapped to"
            )


def _check_vectors(vectors: NDArray[np.float32], dimensions: int) -> None:
    if vectors.ndim != 2 or vectors.shape[1] != dimensions:
        raise InvalidInput(f"vectors of shape {vectors.shape}, expected (any, {dimensions})")
    if not np.isfinite(vectors).all():
        raise InvalidInput("vectors hold NaN or infinity")


def _in_order(
    positions: NDArray[np.int64], cosines: NDArray[np.float32]
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Sort each row by falling cosine, then by position."""
    order = np.lexsort((positions, -cosines))
    sorted_cosines = np.take_along_axis(cosines, order, axis=1).clip(-1, 1)
    return np.take_along_axis(positions, order, axis=1), sorted_cosines.astype(np.float32)
