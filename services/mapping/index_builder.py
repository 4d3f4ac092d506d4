"""Train queries become an index folder: encode, build, measure, save."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from services.mapping.build_parts import BuildParts
from services.mapping.index_files import next_version, read_manifest, save_index
from services.mapping.recall import ENOUGH_RECALL, NARROWEST_EF, SAMPLE, beside, widen
from services.mapping.segmented_graph import ROWS_PER_SEGMENT, HnswParameters
from services.mapping.train_query_checks import check_split
from services.mapping.train_query_index import (
    DEFAULT_PARAMETERS,
    TrainQueryIndex,
)
from shared.dataset import Query
from shared.encoder import TextEncoder
from shared.errors import Damaged, NotFound

Progress = Callable[[int, int], None]
"""Called with the steps done so far and their total: each train query is encoded, then inserted."""

_TEXTS_PER_STEP = 256
_STEPS_PER_PART = 32
_PARTS = ".parts"
"""Folder of what a build which was killed leaves to the next one."""
_MOST_LINKS = 64
_LARGE = ROWS_PER_SEGMENT // 2
"""Smaller graphs are searched no narrower than is usual: that is quick, and they grow by compactions, which measure nothing."""


def build_index(
    queries: Sequence[Query],
    encoder: TextEncoder,
    folder: Path,
    progress: Progress,
    *,
    parameters: HnswParameters = DEFAULT_PARAMETERS,
    written: Sequence[str] = (),
) -> TrainQueryIndex:
    """Encode the train queries, index them and save the index to `folder`, without a journal.

    It is searched as widely as it takes to find .995 of the neighbours above tau; where no search finds .99, the graph
    is built again with twice the links. Killed, it goes on with what is done when it is called again.

    Args:
        queries: train queries, at least one, each id once.
        encoder: of the index.
        folder: made if it is missing.
        progress: told how far it is.
        parameters: of the graph, at first.
        written: synthetic queries, of which a sample looks for its neighbours; without any, what lies between the
            train queries does (`beside`).

    Raises:
        InvalidInput: no queries, or one that is not of the train split: nothing is mapped to those.
    """
    check_split(queries)
    total = 2 * len(queries)
    parts = BuildParts(folder / _PARTS)
    vectors = _encoded(queries, encoder, parts, lambda done: progress(done, total))
    looks = encoder.encode(sample(written)) if written else beside(vectors, SAMPLE)
    index, recall = build_graph(
        queries,
        vectors,
        looks,
        encoder.name,
        parameters=parameters,
        version=next_version(_version_in(folder)),
        progress=lambda done, _: progress(len(queries) + done, total),
        parts=parts,
    )
    save_index(index, folder, ef=index.ef, recall=recall)
    parts.remove()
    return index


def build_graph(
    queries: Sequence[Query],
    vectors: NDArray[np.float32],
    looks: NDArray[np.float32],
    encoder: str,
    *,
    parameters: HnswParameters,
    version: int,
    progress: Progress,
    parts: BuildParts,
) -> tuple[TrainQueryIndex, float]:
    """Return an index that finds .99 of what `looks` should find, if any does, and the share it finds.

    Args:
        queries: train queries, at least one, each id once.
        vectors: (queries, dimensions) float32 unit vectors.
        looks: (any, dimensions) likewise, of what will be looked for.
        encoder: name of the encoder that made them.
        parameters: of the graph, at first.
        version: of the train queries.
        progress: told how many are in the graph, and their total.
        parts: keeps segments that are filled.
    """
    while True:
        index = TrainQueryIndex.build(
            queries,
            vectors,
            encoder=encoder,
            parameters=parameters,
            ef=NARROWEST_EF if len(queries) >= _LARGE else None,
            version=version,
            progress=progress,
            kept=parts,
        )
        recall = widen(index, looks)
        if recall >= ENOUGH_RECALL or 2 * parameters.m > _MOST_LINKS:
            return index, recall
        parameters = HnswParameters(2 * parameters.m, 2 * parameters.ef_construction)


def sample(written: Sequence[str]) -> list[str]:
    """Return some of the texts, the same whatever their order: one that many documents have is likelier, as it is mapped more often."""
    texts = sorted(written)
    chosen = np.random.default_rng(0).permutation(len(texts))[:SAMPLE]
    return [texts[position] for position in chosen]


def _encoded(
    queries: Sequence[Query],
    encoder: TextEncoder,
    parts: BuildParts,
    progress: Callable[[int], None],
) -> NDArray[np.float32]:
    """Return (queries, dimensions) vectors; a part that an earlier build encoded is read."""
    vectors = np.empty((len(queries), encoder.dimensions), dtype=np.float32)
    size = _TEXTS_PER_STEP * _STEPS_PER_PART
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for start in range(0, len(queries), size):
            texts = [query.text for query in queries[start : start + size]]
            rows = vectors[start : start + len(texts)]
            known = parts.vectors(encoder.name, texts, encoder.dimensions)
            if known is not None:
                rows[:] = known
                progress(start + len(texts))
                continue
            steps = range(0, len(texts), _TEXTS_PER_STEP)

            def _encode(
                step: int, texts: Sequence[str] = texts, rows: NDArray[np.float32] = rows
            ) -> None:
                chosen = texts[step : step + _TEXTS_PER_STEP]
                rows[step : step + len(chosen)] = encoder.encode(chosen)

            for step, _ in zip(steps, pool.map(_encode, steps), strict=True):
                progress(start + min(step + _TEXTS_PER_STEP, len(texts)))
            if len(queries) > size:  # a small index is not worth the files
                parts.keep_vectors(encoder.name, texts, rows)
    return vectors


def _version_in(folder: Path) -> int:
    try:
        return read_manifest(folder).version
    except (NotFound, Damaged):
        return 0
