"""What the mapping is measured with: texts that the shipped SLM wrote, and vectors like theirs, as many as are wanted."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from services.augmentation.settings import AugmentationSettings
from services.cli.generate import read_synthetic_queries
from services.cli.models import SHIPPED
from shared.contracts.mapping import MapDocument
from shared.contracts.synthetic_queries import SyntheticQueries
from shared.encoder import SentenceEncoder

_ASKED, _BASE, _TUNING = 2_000, 20_000, 2_000
Vectors = NDArray[np.float32]


class Texts(NamedTuple):
    """Three parts of what the SLM wrote, which share no text."""

    asked: list[MapDocument]
    """These are mapped and measured: documents with their own queries, 2,000 in all, each text once."""
    base: list[str]
    """Of their vectors the train queries' are made."""
    tuning: list[str]
    """By these, other documents' own, a build finds how widely to search."""

    @property
    def asked_texts(self) -> list[str]:
        """Return what is asked, in order."""
        return [text for document in self.asked for text in document.queries]


def texts() -> Texts:
    """Return the same parts each time."""
    random = np.random.default_rng(0)
    written = list(read_synthetic_queries(SHIPPED / "synthetic_queries.jsonl.xz"))
    rows = iter(written[position] for position in random.permutation(len(written)))
    seen: set[str] = set()
    asked, tuning = (list(_documents(rows, size, seen)) for size in (_ASKED, _TUNING))
    others = sorted({text for row in written for text in row.queries} - seen)
    base = [others[position] for position in random.permutation(len(others))[:_BASE]]
    return Texts(asked, base, [text for document in tuning for text in document.queries])


def _documents(
    rows: Iterator[SyntheticQueries], size: int, seen: set[str]
) -> Iterator[MapDocument]:
    """Yield documents with those of their queries that are not seen yet, so many queries in all."""
    while size:
        row = next(rows)
        own = [text for text in row.queries if text not in seen][:size]
        seen.update(own)
        size -= len(own)
        if own:
            yield MapDocument(document_id=row.document_id, queries=own)


def requests(documents: Sequence[MapDocument]) -> list[Sequence[MapDocument]]:
    """Return the documents as a worker sends them: as many at once as a task has."""
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
