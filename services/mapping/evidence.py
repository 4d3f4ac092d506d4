"""What speaks for a candidate, as one row of numbers each; a calibration weighs them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from services.mapping.candidates import Candidate
from services.mapping.trust import Trust
from shared.contracts.synthetic_queries import WrittenQueries

Rows = NDArray[np.float32]
"""(candidates, columns); NaN where a number is not known."""

COLUMNS = (
    "trusted_similarity",
    "similarity",
    "support",
    "log_probability",
    "log_rank",
    "agreement",
    "likely_agreement",
)
"""Best cosine of a trusted synthetic query; best cosine of any, with that query's support and log-probability; the best
rank, as a logarithm; how many synthetic queries come near, each counted by its nearness and its support, or by
its nearness and its probability (both as log(1 + sum))."""
_NEARNESS = 12.0
"""A synthetic query counts exp(-12 x (1 - cosine)): at cosine .94 half."""


def evidence_of(written: WrittenQueries, candidates: Sequence[Candidate], trust: Trust) -> Rows:
    """Return (candidates, len(COLUMNS)) float32, all of one document."""
    rows = np.full((len(candidates), len(COLUMNS)), np.nan, dtype=np.float32)
    if not candidates:
        return rows
    owner = np.repeat(np.arange(len(candidates)), [len(each.reached_by) for each in candidates])
    reaches = [reach for each in candidates for reach in each.reached_by]
    positions = np.array([reach.position for reach in reaches])
    cosines = np.array([reach.similarity for reach in reaches])
    ranks = np.array([reach.rank for reach in reaches])
    support, log_probability = _written_with(written)
    is_trusted = np.zeros(len(written.queries), dtype=np.bool_)
    is_trusted[trust.trusted_positions(written)] = True

    best = _best_reach(owner, cosines, len(candidates))
    nearness = np.exp(_NEARNESS * (cosines - 1))
    by_trusted = np.where(is_trusted[positions], cosines, -np.inf)
    trusted = np.full(len(candidates), -np.inf)
    np.maximum.at(trusted, owner, by_trusted)
    rank = np.full(len(candidates), np.inf)
    np.minimum.at(rank, owner, ranks)
    rows[:, 0] = np.where(np.isfinite(trusted), trusted, np.nan)
    rows[:, 1] = cosines[best]
    rows[:, 2] = support[positions[best]]
    rows[:, 3] = log_probability[positions[best]]
    rows[:, 4] = np.log(rank)
    rows[:, 5] = _summed(owner, nearness * np.nan_to_num(support[positions], nan=1.0), rows)
    if not np.isnan(log_probability).all():
        chances = np.exp(np.nan_to_num(log_probability[positions], nan=-np.inf))
        rows[:, 6] = _summed(owner, nearness * chances, rows)
    return rows


def _written_with(written: WrittenQueries) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return support (of what was found only, how much is expected) and log-probability of each synthetic query, NaN where unknown."""
    unknown = np.full(len(written.queries), np.nan)
    if not written.evidence:
        return unknown, unknown
    chances = [each.log_probability for each in written.evidence]
    return (
        np.array([max(each.support, min(each.expected or 0.0, 1.0)) for each in written.evidence]),
        np.array([np.nan if chance is None else chance for chance in chances]),
    )


def _best_reach(
    owner: NDArray[np.int64], cosines: NDArray[np.float64], size: int
) -> NDArray[np.int64]:
    """Return the first reach of the highest cosine for each candidate; reaches lie by candidate."""
    order = np.lexsort((np.arange(len(owner)), -cosines, owner))
    return order[np.searchsorted(owner[order], np.arange(size))]


def _summed(
    owner: NDArray[np.int64], values: NDArray[np.float64], rows: Rows
) -> NDArray[np.float64]:
    return np.log1p(np.bincount(owner, weights=values, minlength=len(rows)))
