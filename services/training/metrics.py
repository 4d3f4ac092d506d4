"""Ranking metrics on complete truth: P, nDCG, recall and propensity-scored precision, with intervals.

Everything is computed for all queries at once from ranked positions, and kept a query each, so that
means, intervals and paired differences come from the same arrays. Queries without truth have no row.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

CUTOFFS = (1, 3, 5, 10, 25, 100)
_RESAMPLES_PER_STEP = 50


@dataclass(frozen=True)
class PerQuery:
    """A metric as a ratio of two sums over queries; `base` is all ones where it is a plain mean.

    Both are (queries,) float64. PSP is a ratio of sums (Jain et al. 2016), the others are means.
    """

    value: NDArray[np.float64]
    base: NDArray[np.float64]

    @property
    def mean(self) -> float:
        """Return the metric over all queries."""
        return float(self.value.sum() / self.base.sum())


@dataclass(frozen=True)
class Interval:
    """An estimate with the bounds of its 95 % bootstrap interval."""

    value: float
    low: float
    high: float


def measure(
    ranked: NDArray[np.int64],
    truth: sp.csr_array,
    *,
    propensities: NDArray[np.float64] | None = None,
    cutoffs: Sequence[int] = CUTOFFS,
) -> dict[str, PerQuery]:
    """Return `P@k`, `nDCG@k`, `recall@k`, and `PSP@k` if there are propensities, for each cut-off.

    recall@k divides by all of a query's relevant documents, also where they are more than k; P@k
    divides by k; nDCG@k takes the relevance as gain.

    Args:
        ranked: (queries, any number) distinct document positions, best first.
        truth: (queries, documents) relevance; what is not above 0 is not relevant. No empty rows.
        propensities: (documents,) in (0, 1], frozen from the raw clicks.
        cutoffs: the k's.
    """
    truth = _positive(truth)
    if np.diff(truth.indptr).min(initial=1) == 0:
        raise ValueError("a query without truth has no metric; leave it out")
    gains = _looked_up(truth, ranked)
    relevant = np.diff(truth.indptr).astype(np.float64)
    ones = np.ones(len(relevant))
    hits = np.cumsum(gains > 0, axis=1, dtype=np.float64)
    dcg, ideal_dcg = _discounted(gains), _discounted(_best_gains(truth, max(cutoffs)))
    metrics: dict[str, PerQuery] = {}
    for k in cutoffs:
        found = _at(hits, k)
        metrics[f"P@{k}"] = PerQuery(found / k, ones)
        metrics[f"nDCG@{k}"] = PerQuery(_at(dcg, k) / _at(ideal_dcg, k), ones)
        metrics[f"recall@{k}"] = PerQuery(found / relevant, ones)
    if propensities is None:
        return metrics
    rewards = truth.copy()
    rewards.data = 1 / propensities[truth.indices]
    earned = np.cumsum(_looked_up(rewards, ranked), axis=1)
    possible = np.cumsum(_best_gains(rewards, max(cutoffs)), axis=1)
    for k in cutoffs:
        metrics[f"PSP@{k}"] = PerQuery(_at(earned, k), _at(possible, k))
    return metrics


def recall_of(
    ranked: NDArray[np.int64],
    truth: sp.csr_array,
    groups: Mapping[str, NDArray[np.bool_]],
    *,
    cutoffs: Sequence[int] = CUTOFFS,
) -> dict[str, PerQuery]:
    """Return `GROUP_recall@k`: recall of the relevant documents that are in a group.

    A mean over the queries that have such documents; a group that no query asks for has no metric.

    Args:
        ranked: as for `measure`.
        truth: as for `measure`.
        groups: name -> (documents,) who is in it.
        cutoffs: the k's.
    """
    truth = _positive(truth)
    metrics: dict[str, PerQuery] = {}
    for name, is_member in groups.items():
        of_group = truth.copy()
        of_group.data *= is_member[of_group.indices]
        of_group.eliminate_zeros()
        relevant = np.diff(of_group.indptr).astype(np.float64)
        if not relevant.any():
            continue
        hits = np.cumsum(_looked_up(of_group, ranked) > 0, axis=1, dtype=np.float64)
        for k in cutoffs:
            metrics[f"{name}_recall@{k}"] = PerQuery(
                _at(hits, k) / np.maximum(relevant, 1), (relevant > 0).astype(np.float64)
            )
    return metrics


def groups_by_clicks(clicks_per_document: NDArray[np.int64]) -> dict[str, NDArray[np.bool_]]:
    """Part documents: head are the fewest that hold half of the clicks, tail were never clicked.

    Args:
        clicks_per_document: (documents,) of the raw log, as for the propensities.
    """
    order = np.argsort(-clicks_per_document, kind="stable")
    before = np.cumsum(clicks_per_document[order]) - clicks_per_document[order]
    is_head = np.zeros(len(order), dtype=np.bool_)
    is_head[order] = before < clicks_per_document.sum() / 2
    is_tail = clicks_per_document == 0
    return {"head": is_head & ~is_tail, "torso": ~is_head & ~is_tail, "tail": is_tail}


def propensities_from_clicks(
    clicks_per_document: NDArray[np.int64], queries: int, *, a: float = 0.55, b: float = 1.5
) -> NDArray[np.float64]:
    """Return each document's propensity, (documents,) in (0, 1] (Jain et al. 2016, equation 4).

    Args:
        clicks_per_document: (documents,) how many train queries clicked it. Raw clicks only: with
            augmented labels the yardstick would move with what it measures.
        queries: how many train queries there are.
        a: shape.
        b: shape.
    """
    c = max(0.0, np.log(max(queries, 1)) - 1) * (b + 1) ** a
    propensities: NDArray[np.float64] = 1 / (1 + c * (clicks_per_document + b) ** -a)
    return propensities


def bootstrap(
    metrics: Mapping[str, PerQuery], *, resamples: int = 1_000, seed: int = 0
) -> dict[str, Interval]:
    """Return each metric with its 95 % interval: percentiles over resampled queries."""
    drawn = _resampled(list(metrics.values()), resamples, seed)
    return {
        name: Interval(metric.mean, *_bounds(estimates))
        for (name, metric), estimates in zip(metrics.items(), drawn, strict=True)
    }


def paired_difference(
    better: PerQuery, worse: PerQuery, *, resamples: int = 1_000, seed: int = 0
) -> Interval:
    """Return `better` minus `worse` with its 95 % interval, the same queries resampled for both."""
    first, second = _resampled([better, worse], resamples, seed)
    return Interval(better.mean - worse.mean, *_bounds(first - second))


def paired_differences(
    better: Mapping[str, PerQuery],
    worse: Mapping[str, PerQuery],
    *,
    resamples: int = 1_000,
    seed: int = 0,
) -> dict[str, Interval]:
    """Return `paired_difference` of every metric of `better`, all over the same drawn queries."""
    names = list(better)
    drawn = _resampled(
        [metrics[name] for metrics in (better, worse) for name in names], resamples, seed
    )
    firsts, seconds = np.split(drawn, 2)
    return {
        name: Interval(better[name].mean - worse[name].mean, *_bounds(first - second))
        for name, first, second in zip(names, firsts, seconds, strict=True)
    }


def paired_test(
    better: PerQuery, worse: PerQuery, *, permutations: int = 10_000, seed: int = 0
) -> float:
    """Return the two-sided p of Fisher's randomisation test: were the two the same, who won a query is chance.

    Both have the same base, as two models on one truth do.
    """
    differences = better.value - worse.value
    differences = differences[differences != 0]
    random = np.random.default_rng(seed)
    observed = abs(differences.sum()) - 1e-9  # a sum in another order is the same sum
    at_least = 0
    for start in range(0, permutations, _RESAMPLES_PER_STEP):
        size = min(_RESAMPLES_PER_STEP, permutations - start)
        signs = random.integers(0, 2, size=(size, len(differences))) * 2 - 1
        at_least += int((abs(signs @ differences) >= observed).sum())
    return (1 + at_least) / (1 + permutations)


def _resampled(metrics: Sequence[PerQuery], resamples: int, seed: int) -> NDArray[np.float64]:
    """Return (metrics, resamples) estimates, each column over the same drawn queries."""
    value = np.stack([metric.value for metric in metrics], axis=1)
    base = np.stack([metric.base for metric in metrics], axis=1)
    random = np.random.default_rng(seed)
    queries = len(value)
    estimates = []
    for start in range(0, resamples, _RESAMPLES_PER_STEP):
        size = min(_RESAMPLES_PER_STEP, resamples - start)
        times_drawn = random.multinomial(queries, np.full(queries, 1 / queries), size=size)
        bases = times_drawn @ base
        ratios = np.full(bases.shape, np.nan)  # where nothing was drawn to divide by
        estimates.append(np.divide(times_drawn @ value, bases, out=ratios, where=bases > 0))
    return np.concatenate(estimates).T


def _bounds(estimates: NDArray[np.float64]) -> tuple[float, float]:
    low, high = np.nanpercentile(estimates, [2.5, 97.5])
    return float(low), float(high)


def _positive(matrix: sp.csr_array) -> sp.csr_array:
    matrix = matrix.copy()
    matrix.data[matrix.data < 0] = 0
    matrix.eliminate_zeros()
    matrix.sort_indices()
    return matrix


def _looked_up(matrix: sp.csr_array, ranked: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the matrix's values at the ranked positions, (queries, ranks)."""
    queries, documents = matrix.shape
    keys = np.repeat(np.arange(queries), np.diff(matrix.indptr)) * documents + matrix.indices
    wanted = np.arange(queries)[:, None] * documents + ranked
    places = np.searchsorted(keys, wanted).clip(max=max(len(keys) - 1, 0))
    return np.where(keys[places] == wanted, matrix.data[places], 0.0).astype(np.float64)


def _best_gains(matrix: sp.csr_array, k: int) -> NDArray[np.float64]:
    """Return each row's k largest values, (queries, k), filled up with zeros."""
    rows = np.repeat(np.arange(matrix.shape[0]), np.diff(matrix.indptr))
    order = np.lexsort((-matrix.data, rows))
    rank = np.arange(len(rows)) - matrix.indptr[rows]
    kept = rank < k
    best = np.zeros((matrix.shape[0], k))
    best[rows[kept], rank[kept]] = matrix.data[order][kept]
    return best


def _discounted(gains: NDArray[np.float64]) -> NDArray[np.float64]:
    discounts = np.log2(np.arange(2, gains.shape[1] + 2))
    summed: NDArray[np.float64] = np.cumsum(gains / discounts, axis=1)
    return summed


def _at(running: NDArray[np.float64], k: int) -> NDArray[np.float64]:
    """Return the running sum after k ranks, or after the last one if there are fewer."""
    return running[:, min(k, running.shape[1]) - 1]
