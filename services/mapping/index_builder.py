"""Train queries become an index folder: encode, build, measure, save."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from services.mapping.index_files import next_version, read_manifest, save_index
from services.mapping.train_query_index import (
    DEFAULT_PARAMETERS,
    HnswParameters,
    TrainQueryIndex,
    check_split,
)
from shared.dataset import Query
from shared.encoder import TextEncoder
from shared.errors import Damaged, NotFound

Progress = Callable[[int, int], None]
"""Called with the steps done so far and their total: each train query is encoded, then inserted."""

_TEXTS_PER_STEP = 256
_STEPS_PER_PART = 32
_PARTS = ".encoded"
"""Folder of vectors that a build which was killed leaves to the next one."""
_SAMPLE, _NEIGHBOURS, _TAU = 200, 10, 0.6
_ENOUGH_RECALL, _LARGEST_EF = 0.99, 1_024


def build_index(
    queries: Sequence[Query],
    encoder: TextEncoder,
    folder: Path,
    progress: Progress,
    *,
    parameters: HnswParameters = DEFAULT_PARAMETERS,
) -> TrainQueryIndex:
    """Encode the train queries, index them and save the index to `folder`, without a journal.

    It is searched as widely as it takes to find .99 of the neighbours above tau. Killed, it goes on with what
    is encoded when it is called again.

    Raises:
        InvalidInput: no queries, or one that is not of the train split: nothing is mapped to those.
    """
    check_split(queries)
    total = 2 * len(queries)
    vectors = _encoded(queries, encoder, folder / _PARTS, lambda done: progress(done, total))
    index = TrainQueryIndex.build(
        queries,
        vectors,
        encoder=encoder.name,
        parameters=parameters,
        version=next_version(_version_in(folder)),
        progress=lambda done, _: progress(len(queries) + done, total),
    )
    recall = widen(index, vectors)
    save_index(index, folder, ef=index.ef, recall=recall)
    shutil.rmtree(folder / _PARTS, ignore_errors=True)
    return index


def recall_above_tau(
    index: TrainQueryIndex,
    vectors: NDArray[np.float32],
    *,
    k: int = _NEIGHBOURS,
    tau: float = _TAU,
) -> float:
    """Return the share of the exact neighbours above tau that the index finds; 1 if there are none.

    Args:
        index: is searched both ways.
        vectors: (any, dimensions) float32 unit vectors to look from.
        k: neighbours looked for.
        tau: a cosine.
    """
    exact, cosines = index.search_exactly(vectors, k)
    found, _ = index.search(vectors, k)
    hits = wanted = 0
    for right, similar, given in zip(exact.tolist(), cosines, found.tolist(), strict=True):
        above = {
            position for position, cosine in zip(right, similar, strict=True) if cosine >= tau
        }
        wanted += len(above)
        hits += len(above.intersection(given))
    return hits / wanted if wanted else 1.0


def widen(index: TrainQueryIndex, vectors: NDArray[np.float32]) -> float:
    """Let the index search more widely until it finds .99 of the neighbours above tau; return that share.

    What looks is near to train queries and none of them, as synthetic queries are: a vector of the index finds its
    neighbours more easily. Texts of another kind than the log's may find less (`loadtests/README.md`).

    Args:
        index: is widened, up to 1,024 neighbours kept while searching.
        vectors: (train queries, dimensions) its own.
    """
    looks = beside(vectors, _SAMPLE)
    while True:
        recall = recall_above_tau(index, looks)
        if recall >= _ENOUGH_RECALL or index.ef >= _LARGEST_EF:
            return recall
        index.widen(2 * index.ef)


def beside(vectors: NDArray[np.float32], size: int) -> NDArray[np.float32]:
    """Return (size, dimensions) unit vectors: one of these each, plus half the difference of two others."""
    first, second, third = np.random.default_rng(0).integers(len(vectors), size=(3, size))
    moved = vectors[first] + np.float32(0.5) * (vectors[second] - vectors[third])
    lengths = np.linalg.norm(moved, axis=1, keepdims=True)
    return np.asarray(moved / np.maximum(lengths, 1e-6), dtype=np.float32)


def _encoded(
    queries: Sequence[Query], encoder: TextEncoder, parts: Path, progress: Callable[[int], None]
) -> NDArray[np.float32]:
    """Return (queries, dimensions) vectors; a part that an earlier build encoded is read."""
    vectors = np.empty((len(queries), encoder.dimensions), dtype=np.float32)
    size = _TEXTS_PER_STEP * _STEPS_PER_PART
    parts.mkdir(parents=True, exist_ok=True)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for start in range(0, len(queries), size):
            texts = [query.text for query in queries[start : start + size]]
            path = parts / f"{_digest(encoder.name, texts)}.npy"
            rows = vectors[start : start + len(texts)]
            if (known := _read_part(path, rows.shape)) is not None:
                rows[:] = known
                progress(start + len(texts))
                continue
            steps = range(0, len(texts), _TEXTS_PER_STEP)

            def _encode(
                step: int, texts: Sequence[str] = texts, rows: NDArray[np.float32] = rows
            ) -> None:
                chosen = texts[step : step + _TEXTS_PER_STEP]
                rows[step : step + len(chosen)] = encoder.encode(chosen, batch_size=1)

            for step, _ in zip(steps, pool.map(_encode, steps), strict=True):
                progress(start + min(step + _TEXTS_PER_STEP, len(texts)))
            if len(queries) > size:  # a small index is not worth the files
                _write_part(path, rows)
    return vectors


def _digest(name: str, texts: Sequence[str]) -> str:
    digest = hashlib.sha256(name.encode())
    for text in texts:
        digest.update(b"\0" + text.encode())
    return digest.hexdigest()


def _read_part(path: Path, shape: tuple[int, ...]) -> NDArray[np.float32] | None:
    try:
        vectors: NDArray[np.float32] = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None
    is_whole = vectors.shape == shape and vectors.dtype == np.float32
    return vectors if is_whole and np.isfinite(vectors).all() else None


def _write_part(path: Path, vectors: NDArray[np.float32]) -> None:
    unfinished = path.with_suffix(".part")
    with unfinished.open("wb") as file:
        np.save(file, vectors)
    unfinished.replace(path)


def _version_in(folder: Path) -> int:
    try:
        return read_manifest(folder).version
    except (NotFound, Damaged):
        return 0
