"""Which index: the cheapest that finds what comparing with every ad finds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from shared.ad_index import (
    AdIndex,
    FaissIndex,
    Storage,
    Structure,
    build_index,
    card_of,
    flat_index,
    kind_of,
    lists_of,
)
from shared.vector_files import Vectors

FLAT_ADS = 30_000
"""Up to so many ads an exact scan is as fast as a graph, on a CPU."""
LIST_ADS = 300_000
"""From so many ads on lists are tried before the graph, whose building takes ten times as long and grows faster."""
MIN_RECALL = 0.995
"""Recall@10 against the exact scan that an index must have on a sample, so that it has .99 on all that is asked."""
_STORAGE_RECALL = (1 + MIN_RECALL) / 2
"""That vectors of fewer bits must have when all are compared: half of what may be lost is left to the search."""
EFS = (
    *(32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160, 192, 224, 256, 320, 384, 448, 512),
    *(640, 768, 1_024, 1_280, 1_536, 2_048),
)
"""Widths that a graph may have."""
NPROBES = (
    *(1, 2, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512),
    *(768, 1_024, 1_536, 2_048),
)
"""Lists that a search may read."""
_NARROW, _WIDE = 1 / 64, 1 / 8
"""Share of the lists that are read where a graph could do it, and where none does: 16,000 and 125,000 of a million ads."""
_K = 10
_JUDGED_QUERIES = 200
_TOLERANCE = 1e-5


def choose_index(
    vectors: Vectors,
    queries: Vectors | None = None,
    *,
    flat_ads: int = FLAT_ADS,
    list_ads: int = LIST_ADS,
    max_bytes: int | None = None,
    threads: int | None = None,
) -> FaissIndex:
    """Return the cheapest index that finds what the exact scan finds: recall@10 of at least .99 (`MIN_RECALL`).

    Args:
        vectors: (ads, dimensions) float32.
        queries: (any number, dimensions) float32 to judge with, as they are asked; where they are few, ads' own
            vectors, disturbed, judge as well: a handful would choose by chance. Enough must be found for either.
        flat_ads: up to so many ads are scanned.
        list_ads: from so many on lists are tried first.
        max_bytes: of the vectors in memory; above that they are kept in 8 bits, if recall allows it. Where not all are
            compared they are kept in 16 bits, which are read twice as fast as 32.
        threads: cores to build graphs with; all if absent.
    """
    judge = _Judge(vectors, queries)
    is_small = len(vectors) <= flat_ads
    storages: list[Storage] = [] if is_small else ["fp16"]
    if max_bytes is not None and vectors.nbytes > max_bytes:
        storages = ["sq8", "fp16"]
    storage = _smallest_of(storages, vectors, judge, threads)
    if is_small and storage == "fp32":
        return judge.exact
    for structure, widths in _attempts(len(vectors), flat_ads, list_ads):
        candidate = build_index(vectors, kind_of(structure, storage), threads=threads)
        found = _narrowest(candidate, widths, judge)
        if found is not None:
            return found
    return judge.exact


class _Judge:
    """Knows what the exact scan finds for queries as they are asked, and for others where these are few."""

    def __init__(self, vectors: Vectors, queries: Vectors | None) -> None:
        self.exact = flat_index(vectors)
        judges = [each for each in _judges(vectors, queries) if len(each)]
        self._groups = [(each, self.exact.search(each, _K)[0]) for each in judges]

    def recall_of(self, index: AdIndex) -> float:
        """Return the recall of those for whom it is lowest."""
        return min((_recall(index, self.exact, *group) for group in self._groups), default=1.0)


def _smallest_of(
    storages: Sequence[Storage], vectors: Vectors, judge: _Judge, threads: int | None
) -> Storage:
    """Return the first in which the vectors are told from each other well enough; fp32 if none is."""
    for storage in storages:
        scan = build_index(vectors, kind_of("flat", storage), threads=threads)
        if judge.recall_of(scan) >= _STORAGE_RECALL:
            return storage
    return "fp32"


class _Attempt(NamedTuple):
    """A kind of index, and how wide it may be searched."""

    structure: Structure
    widths: Sequence[int | None]


def _narrowest(
    candidate: FaissIndex, widths: Sequence[int | None], judge: _Judge
) -> FaissIndex | None:
    """Return the candidate with the smallest width that finds enough; None if no width does."""
    kind = candidate.card.kind
    chosen, low, high = None, 0, len(widths) - 1
    place = high  # if the widest does not find enough, none does
    while low <= high:
        judged = FaissIndex(candidate.index, card_of(kind, widths[place]))
        recall = judge.recall_of(judged)
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


def _attempts(ads: int, flat_ads: int, list_ads: int) -> list[_Attempt]:
    """Return what may do, the cheapest first."""
    if ads <= flat_ads:
        return [_Attempt("flat", (None,))]
    lists = lists_of(ads)
    narrow, wide = (
        _Attempt("ivf", [each for each in NPROBES if each <= max(1, share * lists)])
        for share in (_NARROW, _WIDE)
    )
    graph = _Attempt("hnsw", EFS)
    return [graph] if ads < list_ads else [narrow, graph, wide]


def _judges(vectors: Vectors, queries: Vectors | None) -> list[Vectors]:
    """Return the queries, and ads' vectors moved as far as they are long, 200 in all."""
    asked = vectors[:0] if queries is None else queries[:_JUDGED_QUERIES]
    random = np.random.default_rng(0)
    count = min(_JUDGED_QUERIES - len(asked), len(vectors))
    rows = vectors[random.choice(len(vectors), count, replace=False)]
    noise = random.standard_normal(rows.shape).astype(np.float32)
    lengths = np.linalg.norm(rows, axis=1, keepdims=True) / np.sqrt(rows.shape[1])
    disturbed: Vectors = rows + lengths * noise
    return [asked, disturbed]
