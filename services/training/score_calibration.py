"""How probable a click is by an ad's score: a monotone curve through validation clicks."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from services.training.embeddings import CachedEncoder
from services.training.train import embed_queries
from shared.ad_index import flat_index
from shared.bundle_facts import ScoreCalibration
from shared.dataset import Dataset

_SHOWN = 100
"""Best ads of a validation query that count as shown."""
_FEWEST_CLICKS, _MOST_QUERIES = 30, 2_000
_CLICKS_OF_A_KNOT, _MOST_KNOTS = 20, 10


@dataclass
class _Block:
    """Ads of neighbouring scores."""

    score: float
    """Mean."""
    clicks: float
    shown: float

    @property
    def rate(self) -> float:
        return self.clicks / self.shown

    def with_next(self, other: _Block) -> _Block:
        shown = self.shown + other.shown
        score = (self.score * self.shown + other.score * other.shown) / shown
        return _Block(score, self.clicks + other.clicks, shown)


def calibrate(
    vectors: NDArray[np.float32], dataset: Dataset, encoder: CachedEncoder
) -> ScoreCalibration | None:
    """Return how probable a click is by an ad's score; None where validation clicks are too few, or do not grow with it.

    An ad is taken as shown if it is among the hundred best of a query, so this is the probability of a click there.
    """
    queries = [
        query for query in dataset.queries_of("validation") if dataset.clicks.get(query.id)
    ][:_MOST_QUERIES]
    if not queries:
        return None
    scores, positions = flat_index(vectors).search(embed_queries(queries, encoder), _SHOWN)
    ids = np.array([document.id for document in dataset.documents])
    clicked = np.stack(
        [
            np.isin(ids[row], list(dataset.clicks[query.id]))
            for query, row in zip(queries, positions, strict=True)
        ]
    )
    clicks = int(clicked.sum())
    if clicks < _FEWEST_CLICKS:
        return None
    knots = knots_of(scores.ravel().astype(np.float64), clicked.ravel())
    if len(knots) < 2:
        return None
    return ScoreCalibration(knots=knots, queries=len(queries), clicks=clicks)


def knots_of(scores: NDArray[np.float64], clicked: NDArray[np.bool_]) -> list[tuple[float, float]]:
    """Return (score, log-odds of a click), both strictly increasing.

    Scores are parted so that each part has about as many clicks; parts whose rates fall are pooled (isotonic
    regression). Half a click in one ad more keeps rates off 0 and 1.

    Args:
        scores: (shown,).
        clicked: (shown,), with at least one click.
    """
    order = np.argsort(scores, kind="stable")
    scores, clicked = scores[order], clicked[order]
    parts = int(np.clip(clicked.sum() // _CLICKS_OF_A_KNOT, 2, _MOST_KNOTS))
    so_far = np.cumsum(clicked)
    edges = np.searchsorted(so_far, np.linspace(0, so_far[-1], parts + 1)[1:-1])
    blocks: list[_Block] = []
    for rows in np.split(np.arange(len(scores)), edges):
        if not len(rows):
            continue
        block = _Block(float(scores[rows].mean()), clicked[rows].sum() + 0.5, len(rows) + 1)
        while blocks and not (blocks[-1].rate < block.rate and blocks[-1].score < block.score):
            block = blocks.pop().with_next(block)
        blocks.append(block)
    return [(each.score, float(np.log(each.rate / (1 - each.rate)))) for each in blocks]
