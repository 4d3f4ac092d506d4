"""Biased clicks from complete truth: what a weak older retriever would have logged (paper, Algorithm 1, appendix G).

The logging policy ranks documents by the cosine of query and *title*; only what it shows can be
clicked. Scores of a few hundred queries at a time are in memory.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from shared.dataset import Dataset, Pairs
from shared.errors import InvalidInput

DEFAULT_SHOWN = 50
"""The logging policy's K on the whole of things (the paper's, on larger sets, is 200)."""
_SCORES_AT_ONCE = 8_000_000

Vectors = NDArray[np.float32]
"""(texts, dimensions), unit length."""
TruePairs = NDArray[np.int64]
"""(pairs, 2): row of the query, row of the document."""
Kind = Literal["deterministic", "stochastic", "mar"]
"""All true pairs that are shown; each of them with its propensity; as many at random from the truth."""


@dataclass(frozen=True)
class SimulatedLog:
    """Clicks of queries of every split; who trains uses those of train queries."""

    clicks: Pairs
    propensities: Pairs
    """Golden: of every pair that is shown, the probability of its click."""
    impressions: Pairs
    """All that was shown, clicked or not; empty where clicks do not come from what was shown."""
    shown: int
    exposure: float
    """Share of the true pairs that is clicked."""


class LoggingPolicy:
    """A weak retriever over the truth of a data set, whose log can be simulated at any K.

    Args:
        dataset: with complete truth.
        queries: (queries, dimensions) float32 unit vectors, in the order of the data set.
        titles: (documents, dimensions), the same.

    Raises:
        InvalidInput: the data set has no truth.
    """

    def __init__(self, dataset: Dataset, queries: Vectors, titles: Vectors) -> None:
        rows = {query.id: row for row, query in enumerate(dataset.queries)}
        columns = {document.id: column for column, document in enumerate(dataset.documents)}
        self._names = [
            (query_id, document_id)
            for query_id, row in dataset.truth.items()
            for document_id, relevance in row.items()
            if relevance > 0
        ]
        if not self._names:
            raise InvalidInput("no truth (qrels.tsv) to simulate clicks from")
        self._pairs = np.array([(rows[q], columns[d]) for q, d in self._names], dtype=np.int64)
        self._dataset, self._queries, self._titles = dataset, queries, titles
        self._ranks = rank_pairs(queries, titles, self._pairs)

    def log(self, shown: int, kind: Kind, *, seed: int = 0) -> SimulatedLog:
        """Return what the log would hold if the best `shown` documents of each query were shown."""
        is_shown = deterministic_clicks(self._ranks, shown)
        chances = np.ones(len(self._pairs))
        if kind == "stochastic":
            chances = golden_propensities(self._queries, self._titles, self._pairs, shown)
            is_clicked = stochastic_clicks(self._ranks, chances, shown, seed=seed)
        elif kind == "mar":
            drawn = np.random.default_rng(seed).permutation(len(self._pairs))[: is_shown.sum()]
            is_clicked = np.isin(np.arange(len(self._pairs)), drawn)
            is_shown, chances = np.ones_like(is_shown), chances * is_clicked.mean()
        else:
            is_clicked = is_shown
        return SimulatedLog(
            clicks=self._named(is_clicked, np.ones(len(self._pairs))),
            propensities=self._named(is_shown, chances),
            impressions={} if kind == "mar" else self._impressions(shown),
            shown=shown,
            exposure=float(is_clicked.mean()),
        )

    def _impressions(self, shown: int) -> Pairs:
        pairs = shown_pairs(self._queries, self._titles, shown)
        impressions: Pairs = {}
        for query, document in pairs.tolist():
            row = impressions.setdefault(self._dataset.queries[query].id, {})
            row[self._dataset.documents[document].id] = 1.0
        return impressions

    def _named(self, is_kept: NDArray[np.bool_], values: NDArray[np.float64]) -> Pairs:
        named: Pairs = {}
        for number in np.flatnonzero(is_kept).tolist():
            query_id, document_id = self._names[number]
            named.setdefault(query_id, {})[document_id] = float(values[number])
        return named


def shown_pairs(queries: Vectors, titles: Vectors, shown: int) -> TruePairs:
    """Return (pairs, 2) rows of the queries and of the documents that the policy shows them.

    As in `rank_pairs` documents of the same score share a place, so that a few more may be shown.
    """
    parts = []
    step = max(1, _SCORES_AT_ONCE // max(len(titles), 1))
    for begin in range(0, len(queries), step):
        scores = queries[begin : begin + step] @ titles.T
        kept = min(shown, len(titles))
        last = np.partition(scores, len(titles) - kept, axis=1)[:, len(titles) - kept]
        rows, columns = np.nonzero(scores >= last[:, None])
        parts.append(np.column_stack([rows + begin, columns]))
    return np.concatenate(parts) if parts else np.empty((0, 2), dtype=np.int64)


def rank_pairs(queries: Vectors, titles: Vectors, pairs: TruePairs) -> NDArray[np.int64]:
    """Return (pairs,) the place of each pair's document for its query, from 1.

    Documents of the same score share a place.
    """
    ranks = np.empty(len(pairs), dtype=np.int64)
    for scores, members, documents in _scores_of_pairs(queries, titles, pairs):
        ranks[members] = (
            1 + len(scores) - np.searchsorted(np.sort(scores), scores[documents], "right")
        )
    return ranks


def golden_propensities(
    queries: Vectors, titles: Vectors, pairs: TruePairs, shown: int = DEFAULT_SHOWN
) -> NDArray[np.float64]:
    """Return (pairs,) the probability that a pair is clicked if its document is shown.

    It is the sigmoid of the policy's score, standardised over the `shown` best documents of the
    query: raw cosines, or cosines standardised over all documents, hardly vary among these.
    """
    propensities = np.empty(len(pairs), dtype=np.float64)
    for scores, members, documents in _scores_of_pairs(queries, titles, pairs):
        shown_scores = np.partition(scores, -min(shown, len(scores)))[-shown:]
        deviation = max(float(shown_scores.std()), 1e-9)
        standardised = (scores[documents] - shown_scores.mean()) / deviation
        propensities[members] = 1 / (1 + np.exp(np.clip(-standardised, -50, 50)))
    return propensities


def deterministic_clicks(
    ranks: NDArray[np.int64], shown: int = DEFAULT_SHOWN
) -> NDArray[np.bool_]:
    """Return (pairs,) whether a pair is clicked: every true pair that is shown is."""
    return ranks <= shown


def stochastic_clicks(
    ranks: NDArray[np.int64],
    propensities: NDArray[np.float64],
    shown: int = DEFAULT_SHOWN,
    *,
    seed: int,
) -> NDArray[np.bool_]:
    """Return (pairs,) whether a pair is clicked: a true pair that is shown is, with its propensity."""
    chances = np.random.default_rng(seed).random(len(ranks))
    return (ranks <= shown) & (chances < propensities)


def shown_for(ranks: NDArray[np.int64], exposure: float) -> int:
    """Return the K whose share of true pairs shown is nearest to `exposure`."""
    ordered = np.sort(ranks)
    candidates = np.unique(ordered)
    shares = np.searchsorted(ordered, candidates, side="right") / len(ordered)
    return int(candidates[np.abs(shares - exposure).argmin()])


def _scores_of_pairs(
    queries: Vectors, titles: Vectors, pairs: TruePairs
) -> Iterator[tuple[Vectors, NDArray[np.intp], NDArray[Any]]]:
    """Yield (all documents' scores, its pairs, their documents) for each query that has pairs."""
    by_query = np.argsort(pairs[:, 0], kind="stable")
    rows, starts = np.unique(pairs[by_query, 0], return_index=True)
    members = np.split(by_query, starts[1:])
    step = max(1, _SCORES_AT_ONCE // max(len(titles), 1))
    for begin in range(0, len(rows), step):
        block = queries[rows[begin : begin + step]] @ titles.T
        for scores, of_query in zip(block, members[begin : begin + step], strict=True):
            yield scores, of_query, pairs[of_query, 1]
