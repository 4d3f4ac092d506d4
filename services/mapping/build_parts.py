"""What a build that was killed leaves to the next one: vectors that are encoded, segments that are filled."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import hnswlib
import numpy as np
from numpy.typing import NDArray

from services.mapping.segmented_graph import HnswParameters

_VECTORS, _SEGMENTS = ".npy", ".hnsw"


class BuildParts:
    """Files named by what they were made of, so that a part of other texts or parameters is never taken.

    Safe to use from several threads for different parts.

    Args:
        folder: made when the first part is kept.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def vectors(
        self, encoder: str, texts: Sequence[str], dimensions: int
    ) -> NDArray[np.float32] | None:
        """Return the (texts, dimensions) float32 vectors that were kept, None if there are none."""
        try:
            vectors = np.load(self._vectors_file(encoder, texts), allow_pickle=False)
        except (OSError, ValueError, EOFError):
            return None
        is_whole = vectors.shape == (len(texts), dimensions) and vectors.dtype == np.float32
        return vectors if is_whole and np.isfinite(vectors).all() else None

    def keep_vectors(
        self, encoder: str, texts: Sequence[str], vectors: NDArray[np.float32]
    ) -> None:
        """Keep the vectors of texts."""

        def _write(path: Path) -> None:
            with path.open("wb") as file:
                np.save(file, vectors)

        self._keep(self._vectors_file(encoder, texts), _write)

    def segment(
        self, vectors: NDArray[np.float32], parameters: HnswParameters
    ) -> hnswlib.Index | None:
        """Return the graph of these vectors that was kept, None if there is none."""
        graph = hnswlib.Index(space="ip", dim=vectors.shape[1])
        try:
            graph.load_index(str(self._segment_file(vectors, parameters)))
        except RuntimeError:  # no such file, or not a whole one
            return None
        return graph if graph.get_current_count() == len(vectors) else None

    def keep_segment(
        self, vectors: NDArray[np.float32], parameters: HnswParameters, graph: hnswlib.Index
    ) -> None:
        """Keep the graph of vectors."""
        path = self._segment_file(vectors, parameters)
        self._keep(path, lambda unfinished: graph.save_index(str(unfinished)))

    def remove(self) -> None:
        """Keep nothing any more."""
        shutil.rmtree(self._folder, ignore_errors=True)

    def _keep(self, path: Path, write: Callable[[Path], None]) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        unfinished = path.with_suffix(".part")
        write(unfinished)
        unfinished.replace(path)

    def _vectors_file(self, encoder: str, texts: Sequence[str]) -> Path:
        digest = hashlib.sha256(encoder.encode())
        for text in texts:
            digest.update(b"\0" + text.encode())
        return self._folder / f"{digest.hexdigest()}{_VECTORS}"

    def _segment_file(self, vectors: NDArray[np.float32], parameters: HnswParameters) -> Path:
        digest = hashlib.sha256(f"{parameters}{vectors.shape}".encode())
        digest.update(np.ascontiguousarray(vectors).data)
        return self._folder / f"{digest.hexdigest()}{_SEGMENTS}"
