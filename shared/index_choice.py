"""Which index: the cheapest that finds what comparing with every ad finds."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from shared.ad_index import FaissIndex, IndexCard, Kind, build_index, flat_index
from shared.vector_files import Vectors

FLAT_ADS = 30_000
"""Up to so many ads an exact scan is as fast as a graph, on a CPU."""
MIN_RECALL = 0.995
"""Recall@10 against the exact scan that a graph must have on a sample, so that it has .99 on all that is asked."""
_EFS = (32, 64, 128, 256, 512)
_JUDGED_QUERIES = 200


def choose_index(
    vectors: Vectors,
    queries: Vectors | None = None,
    *,
    flat_ads: int = FLAT_ADS,
    max_bytes: int | None = None,
    threads: int | None = None,
) -> FaissIndex:
    """Return the cheapest index that finds what the exact scan finds: recall@10 of at least .99 (`MIN_RECALL`).

    Args:
        vectors: (ads, dimensions) float32.
        queries: (any number, dimensions) float32 to judge with, as they are asked; ads' own vectors, disturbed, if
            there are none.
        flat_ads: up to so many ads are scanned.
        max_bytes: of the vectors in memory; above that they are kept in 8 bits, if recall allows it.
        threads: cores to build graphs with; all if absent.
    """
    is_large = max_bytes is not None and vectors.nbytes > max_bytes
    kinds: Sequence[Kind] = ("flat_sq8",) if len(vectors) <= flat_ads else ("hnsw_sq8",)
    kinds = kinds if is_large else ()
    if len(vectors) > flat_ads:
        kinds = (*kinds, "hnsw")
    exact = flat_index(vectors)
    judges = _judges(vectors) if queries is None or not len(queries) else queries
    truth = exact.search(judges[:_JUDGED_QUERIES], 10)[1] if kinds else None
    for kind in kinds:
        candidate = build_index(vectors, kind, threads=threads)
        for ef in _EFS if kind.startswith("hnsw") else (None,):
            judged = FaissIndex(candidate.index, IndexCard(kind=kind, ef=ef))
            assert truth is not None  # noqa: S101  (for the type: kinds is not empty)
            found = np.concatenate(
                [judged.search(each[None], 10)[1] for each in judges[: len(truth)]]
            )
            recall = recall_of(found, truth)
            if recall >= MIN_RECALL:
                card = IndexCard(kind=kind, ef=ef, recall_at_10=round(recall, 4))
                return FaissIndex(candidate.index, card)
    return exact


def recall_of(found: NDArray[np.int64], truth: NDArray[np.int64]) -> float:
    """Return the share of `truth`, (queries, k) positions, that is in the same row of `found`."""
    hits = sum(len(np.intersect1d(*rows)) for rows in zip(found, truth, strict=True))
    return float(hits / truth.size) if truth.size else 1.0


def _judges(vectors: Vectors) -> Vectors:
    random = np.random.default_rng(0)
    rows = vectors[random.choice(len(vectors), min(_JUDGED_QUERIES, len(vectors)), replace=False)]
    noise = random.standard_normal(rows.shape).astype(np.float32)
    lengths = np.linalg.norm(rows, axis=1, keepdims=True) / np.sqrt(rows.shape[1])
    disturbed: Vectors = rows + lengths * noise
    return disturbed
