"""The test queries of a split and their truth: what every arm's answers are measured with."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from services.training.labels import only_of, only_relevant, pair_matrix
from services.training.metrics import (
    Interval,
    PerQuery,
    bootstrap,
    groups_by_clicks,
    measure,
    paired_differences,
    paired_test,
    propensities_from_clicks,
    recall_of,
)
from services.training.supervision import positions_of
from shared.dataset import Dataset
from shared.errors import InvalidInput

Row = dict[str, float]
"""Metric, and metric_low and metric_high: its 95 % bootstrap interval over queries."""
_GAINS = ("P@1", "nDCG@10", "recall@10", "recall@25", "recall@100")
_SPELLED = {"P": "precision", "nDCG": "ndcg", "PSP": "psp"}


class Measurement:
    """Measures rankings of a split's test queries. Propensities and groups are frozen from its raw clicks.

    Args:
        dataset: with truth for test queries, and clicks: those of train queries for the yardsticks,
            those of test queries for the biased test.
        a: shape of the propensities.
        b: shape of the propensities.

    Raises:
        InvalidInput: no test query has truth.
    """

    def __init__(self, dataset: Dataset, *, a: float = 0.55, b: float = 1.5) -> None:
        positions = positions_of(dataset.documents)
        train_queries, tests = dataset.queries_of("train"), dataset.queries_of("test")
        truth = only_of(only_relevant(dataset.truth), tests, positions)
        self.queries = [query for query in tests if query.id in truth]
        self.without_truth = len(tests) - len(self.queries)
        if not self.queries:
            raise InvalidInput(f"no truth for any of {len(tests)} test queries")
        self._truth = pair_matrix(self.queries, positions, truth)
        clicked = only_of(only_relevant(dataset.clicks), self.queries, positions)
        self._is_clicked = np.array([query.id in clicked for query in self.queries])
        self._clicked = pair_matrix(
            [query for query in self.queries if query.id in clicked], positions, clicked
        )
        self._clicked.data[:] = 1  # a count says how often a document was shown as well
        clicks = only_of(dataset.clicks, train_queries, positions)
        clicks_per_document = np.bincount(
            [positions[document_id] for row in clicks.values() for document_id in row],
            minlength=len(positions),
        )
        self._propensities = propensities_from_clicks(
            clicks_per_document, len(train_queries), a=a, b=b
        )
        self._groups = groups_by_clicks(clicks_per_document)

    def of(self, ranked: NDArray[np.int64]) -> dict[str, PerQuery]:
        """Return all metrics on the truth, recall of head, torso and tail among them.

        Args:
            ranked: (queries, ranks) document positions, best first.
        """
        metrics = measure(ranked, self._truth, propensities=self._propensities)
        return metrics | recall_of(ranked, self._truth, self._groups)

    def biased(self, ranked: NDArray[np.int64]) -> dict[str, PerQuery]:
        """Return `biased_METRIC` on the clicks of those test queries that have any, as a log shows them."""
        if not self._is_clicked.any():
            return {}
        metrics = measure(ranked[self._is_clicked], self._clicked, propensities=self._propensities)
        return {f"biased_{name}": metric for name, metric in metrics.items()}


def row_of(metrics: Mapping[str, PerQuery]) -> Row:
    """Return metrics that share their queries, flat, each with its interval."""
    return flat(bootstrap(metrics)) if metrics else {}


def difference(better: Mapping[str, PerQuery], worse: Mapping[str, PerQuery]) -> Row:
    """Return the paired differences, flat, each with its interval and the p of a randomisation test."""
    ours, theirs = ({name: metrics[name] for name in _GAINS} for metrics in (better, worse))
    row = flat(paired_differences(ours, theirs))
    row |= {f"{spelled(name)}_p": paired_test(ours[name], theirs[name]) for name in _GAINS}
    return row


def flat(intervals: Mapping[str, Interval]) -> Row:
    """Return name, name_low and name_high of each interval."""
    row: Row = {}
    for metric, interval in intervals.items():
        name = spelled(metric)
        row |= {name: interval.value, f"{name}_low": interval.low, f"{name}_high": interval.high}
    return row


def spelled(metric: str) -> str:
    """Return a metric's name as JSON has it: `biased_P@1` is `biased_precision_at_1`."""
    name, _, cutoff = metric.partition("@")
    *group, last = name.split("_")
    return "_".join([*group, _SPELLED.get(last, last), "at", cutoff])
