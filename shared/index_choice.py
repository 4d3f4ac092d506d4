"""Which index: the cheapest that finds what comparing with every ad finds."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from shared.ad_index import AdIndex, FaissIndex, IndexCard, Kind, build_index, flat_index
from shared.vector_files import Vectors

FLAT_ADS = 30_000
"""Up to so many ads an exact scan is as fast as a graph, on a CPU."""
MIN_RECALL = 0.995
"""Recall@10 against the exact scan that a graph must have on a sample, so that it has .99 on all that is asked."""
EFS = (
    *(32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160, 192, 224, 256, 320, 384, 448, 512),
    *(640, 768, 1_024, 1_280, 1_536, 2_048),
)
"""Widths that a graph may have."""
_K = 10
_JUDGED_QUERIES = 200
_TOLERANCE = 1e-5


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
        queries: (any number, dimensions) float32 to judge with, as they are asked; where they are few, ads' own
            vectors, disturbed, judge with them: a handful would choose by chance.
        flat_ads: up to so many ads are scanned.
        max_bytes: of the vectors in memory; above that they are kept in 8 bits, if recall allows it.
        threads: cores to build graphs with; all if absent.
    """
    exact = flat_index(vectors)
    judges = _judges(vectors, queries)
    best, _ = exact.search(judges, _K)
    for kind in _kinds(vectors, flat_ads, max_bytes):
        candidate = build_index(vectors, kind, threads=threads)
        found = _narrowest(candidate, exact, judges, best)
        if found is not None:
            return found
    return exact


def _narrowest(
    candidate: FaissIndex, exact: AdIndex, queries: Vectors, best: Vectors
) -> FaissIndex | None:
    """Return the candidate, a graph with the smallest width that finds enough; None if no width does."""
    kind = candidate.card.kind
    widths: Sequence[int | None] = EFS if kind.startswith("hnsw") else (None,)
    chosen, low, high = None, 0, len(widths) - 1
    place = high  # if the widest does not find enough, none does
    while low <= high:
        judged = FaissIndex(candidate.index, IndexCard(kind=kind, ef=widths[place]))
        recall = _recall(judged, exact, queries, best)
        if recall >= MIN_RECALL:
            card = judged.card.model_copy(update={"recall_at_10": round(recall, 4)})
            chosen, high = FaissIndex(candidate.index, card), place - 1
        elif chosen is None:
            return None
        else:
            low = place + 1
        place = (low + high) // 2
    return chosen


def recall_of(index: AdIndex, exact: AdIndex, queries: Vectors, k: int = _K) -> float:
    """Return the share of the `k` ads found, query by query, that are as good as the exact ones.

    Ads of equal score may stand for each other: catalogues have titles twice.

    Args:
        index: judged.
        exact: of the same ads.
        queries: (any number, dimensions) float32.
        k: ads of a query.
    """
    return _recall(index, exact, queries, exact.search(queries, k)[0])


def _recall(index: AdIndex, exact: AdIndex, queries: Vectors, best: Vectors) -> float:
    """Return the share of ads found that are as good as the exact ones, whose scores are (queries, k) `best`."""
    hits = 0
    for query, scores in zip(queries, best, strict=True):
        _, positions = index.search(query[None], len(scores))
        found = np.array([query @ exact.vector(place) for place in positions[0].tolist()])
        hits += int((found >= scores[-1] - _TOLERANCE * abs(scores[-1])).sum())
    return hits / best.size if best.size else 1.0


def _kinds(vectors: Vectors, flat_ads: int, max_bytes: int | None) -> list[Kind]:
    """Return the kinds that may do, the cheapest first; the exact scan always does."""
    is_large = max_bytes is not None and vectors.nbytes > max_bytes
    if len(vectors) <= flat_ads:
        return ["flat_sq8"] if is_large else []
    return ["hnsw_sq8", "hnsw"] if is_large else ["hnsw"]


def _judges(vectors: Vectors, queries: Vectors | None) -> Vectors:
    asked = vectors[:0] if queries is None else queries[:_JUDGED_QUERIES]
    random = np.random.default_rng(0)
    count = min(_JUDGED_QUERIES - len(asked), len(vectors))
    rows = vectors[random.choice(len(vectors), count, replace=False)]
    noise = random.standard_normal(rows.shape).astype(np.float32)
    lengths = np.linalg.norm(rows, axis=1, keepdims=True) / np.sqrt(rows.shape[1])
    disturbed: Vectors = rows + lengths * noise
    return np.concatenate([asked, disturbed])
