"""What the mapping is measured with: texts that the shipped SLM wrote, and vectors like theirs, as many as are wanted."""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from services.augmentation.settings import AugmentationSettings
from services.cli.generate import read_synthetic_queries
from services.cli.models import SHIPPED
from shared.contracts.mapping import MapDocument
from shared.encoder import SentenceEncoder

_ASKED, _BASE, _TUNING = 2_000, 20_000, 2_000
Vectors = NDArray[np.float32]


class Texts(NamedTuple):
    """Three disjoint parts of what the SLM wrote, and how much that is."""

    asked: list[str]
    """These are mapped and measured."""
    base: list[str]
    """Of their vectors the train queries' are made."""
    tuning: list[str]
    """By these a build finds how widely to search."""
    per_document: int
    """As many as it wrote for a document, on average."""


def texts() -> Texts:
    """Return the same parts each time."""
    written = list(read_synthetic_queries(SHIPPED / "synthetic_queries.jsonl.xz"))
    known = sorted({text for row in written for text in row.queries})
    order = np.random.default_rng(0).permutation(len(known))
    chosen = [known[position] for position in order[: _ASKED + _BASE + _TUNING]]
    return Texts(
        chosen[:_ASKED],
        chosen[_ASKED : _ASKED + _BASE],
        chosen[_ASKED + _BASE :],
        round(sum(len(row.queries) for row in written) / len(written)),
    )


def requests(asked: Sequence[str], per_document: int) -> list[list[MapDocument]]:
    """Return the texts as a worker sends them: so many a document, as many documents as a task has."""
    documents = [
        MapDocument(document_id=f"d{start}", queries=list(asked[start : start + per_document]))
        for start in range(0, len(asked), per_document)
    ]
    size = AugmentationSettings().batch_size
    return [documents[start : start + size] for start in range(0, len(documents), size)]


def encoded(encoder: SentenceEncoder, chosen: Sequence[str]) -> Vectors:
    """Return (texts, dimensions), encoded on all cores."""
    steps = [chosen[start : start + 256] for start in range(0, len(chosen), 256)]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return np.concatenate(list(pool.map(lambda step: encoder.encode(step), steps)))


def like(base: Vectors, rows: int) -> Vectors:
    """Return (rows, dimensions) unit vectors: a real one, plus half the difference of two others."""
    random = np.random.default_rng(1)
    vectors = np.empty((rows, base.shape[1]), dtype=np.float32)
    for start in range(0, rows, 50_000):
        size = min(50_000, rows - start)
        first, second, third = random.integers(len(base), size=(3, size))
        moved = base[first] + 0.5 * (base[second] - base[third])
        vectors[start : start + size] = moved / np.linalg.norm(moved, axis=1, keepdims=True)
    return vectors
