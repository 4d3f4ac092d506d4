"""Train queries become an index folder: encode, build, save."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from services.mapping.train_query_index import (
    DEFAULT_PARAMETERS,
    HnswParameters,
    TrainQueryIndex,
    check_split,
)
from shared.dataset import Query
from shared.encoder import TextEncoder

Progress = Callable[[int, int], None]
"""Called with the train queries encoded so far and their total."""

_TEXTS_PER_STEP = 256


def build_index(
    queries: Sequence[Query],
    encoder: TextEncoder,
    folder: Path,
    progress: Progress,
    *,
    parameters: HnswParameters = DEFAULT_PARAMETERS,
) -> TrainQueryIndex:
    """Encode the train queries, index them and save the index to `folder`.

    Raises:
        InvalidInput: no queries, or one that is not of the train split: nothing is mapped to those.
    """
    check_split(queries)
    vectors = np.empty((len(queries), encoder.dimensions), dtype=np.float32)
    steps = range(0, len(queries), _TEXTS_PER_STEP)

    def _encode(start: int) -> None:
        texts = [query.text for query in queries[start : start + _TEXTS_PER_STEP]]
        vectors[start : start + len(texts)] = encoder.encode(texts, batch_size=1)

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for start, _ in zip(steps, pool.map(_encode, steps), strict=True):
            progress(min(start + _TEXTS_PER_STEP, len(queries)), len(queries))
    index = TrainQueryIndex.build(queries, vectors, encoder=encoder.name, parameters=parameters)
    index.save(folder)
    return index
