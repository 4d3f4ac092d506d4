"""How the next token of each row is drawn from the logits, for all rows at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_PARTS = 64  # of the vocabulary; the best of each group of 64 tokens bound the best k from below


@dataclass(frozen=True)
class Candidates:
    """What may come next in each row.

    Args:
        logits: (rows, candidates) float32.
        tokens: (rows, candidates) int64, which token each is; token i in column i if absent.
        totals: (rows,) float32, logarithm of the sum of all tokens' exponentials, where not all are here.
    """

    logits: NDArray[np.float32]
    tokens: NDArray[np.int64] | None = None
    totals: NDArray[np.float32] | None = None

    def of_rows(self, rows: Sequence[int]) -> Candidates:
        """Return the candidates of these rows, in their order."""
        tokens = None if self.tokens is None else self.tokens[rows]
        totals = None if self.totals is None else self.totals[rows]
        return Candidates(self.logits[rows], tokens, totals)

    def tokens_at(self, columns: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the token in one column of each row."""
        return columns if self.tokens is None else self.tokens[np.arange(len(columns)), columns]


@dataclass(frozen=True)
class Likely:
    """The tokens that may come next in a row and are likely enough.

    Args:
        tokens: (n,) int64.
        log_probabilities: (n,) float64, what the model gives them.
    """

    tokens: NDArray[np.int64]
    log_probabilities: NDArray[np.float64]


@dataclass(frozen=True)
class Sampling:
    """How tokens are drawn (defaults: the paper's preset).

    Args:
        temperature: 0 is greedy.
        top_k: draw among this many likeliest tokens; 0 is all.
        max_new_tokens: longest completion.
        top_p: draw among the likeliest tokens that together reach this probability; 1 is all.
    """

    temperature: float = 0.8
    top_k: int = 200
    max_new_tokens: int = 250
    top_p: float = 1.0


def draw_columns(
    logits: NDArray[np.float32],
    samplings: Sequence[Sampling],
    draws: Sequence[np.random.Generator],
) -> NDArray[np.int64]:
    """Return the column of one candidate a row. Only rows that are not greedy use up a random number.

    Args:
        logits: (rows, candidates) float32.
        samplings: how to draw, one a row.
        draws: each row's own random numbers.
    """
    columns: NDArray[np.int64] = logits.argmax(axis=1)
    alike: dict[tuple[float, int, float], list[int]] = {}
    for row, sampling in enumerate(samplings):
        if sampling.temperature > 0:
            key = (sampling.temperature, sampling.top_k, sampling.top_p)
            alike.setdefault(key, []).append(row)
    for (temperature, top_k, top_p), rows in alike.items():
        best, scores = _best(logits[rows] if len(rows) < len(logits) else logits, top_k)
        weights = np.exp((scores - scores[:, :1]) / temperature)
        cumulative = weights.cumsum(axis=1)
        if top_p < 1:
            weights[cumulative - weights >= top_p * cumulative[:, -1:]] = 0
            cumulative = weights.cumsum(axis=1)
        targets = np.array([draws[row].random() for row in rows]) * cumulative[:, -1]
        chosen = (cumulative <= targets[:, None]).sum(axis=1)
        columns[rows] = best[np.arange(len(rows)), chosen]
    return columns


def log_probabilities(candidates: Candidates, columns: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return what the model itself gives each row's token (temperature 1, nothing cut), as a logarithm.

    Args:
        candidates: of each row.
        columns: (rows,) of the tokens drawn.
    """
    logits = candidates.logits
    chosen: NDArray[np.float64] = logits[np.arange(len(columns)), columns].astype(np.float64)
    if candidates.totals is not None:
        chosen -= candidates.totals
        return chosen
    highest = logits.max(axis=1, keepdims=True)
    totals = np.exp(logits - highest).sum(axis=1, dtype=np.float64)
    chosen -= highest[:, 0] + np.log(totals)
    return chosen


def likely_tokens(
    candidates: Candidates, row: int, min_log_probability: float, always: NDArray[np.int64]
) -> Likely:
    """Return the tokens that the model itself gives at least so much in a row (temperature 1, nothing cut).

    Args:
        candidates: of all rows.
        row: which one.
        min_log_probability: natural.
        always: tokens that are given however unlikely they are, if they are candidates.
    """
    logits = candidates.logits[row]
    if candidates.totals is not None:
        total = float(candidates.totals[row])
    else:
        highest = float(logits.max())
        total = highest + float(np.log(np.exp(logits - highest).sum(dtype=np.float64)))
    is_wanted = logits >= min_log_probability + total
    if candidates.tokens is None:
        is_wanted[always] = True
        columns = tokens = np.flatnonzero(is_wanted)
    else:
        columns = np.flatnonzero(is_wanted | np.isin(candidates.tokens[row], always))
        tokens = candidates.tokens[row, columns]
    return Likely(tokens, logits[columns].astype(np.float64) - total)


def _best(
    logits: NDArray[np.float32], top_k: int
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return the `top_k` best columns of each row, best first, and their logits; ties by the lower one.

    The k-th best of the groups' maxima is a bound that at least k tokens reach; only those are sorted.
    """
    rows, vocabulary = logits.shape
    top_k = min(top_k or vocabulary, vocabulary)
    groups = vocabulary // _PARTS
    if top_k >= groups:
        candidates = np.broadcast_to(np.arange(vocabulary), logits.shape)
        scores = logits.astype(np.float64)
    else:
        maxima = logits[:, : groups * _PARTS].reshape(rows, _PARTS, groups).max(axis=1)
        bounds = np.partition(maxima, groups - top_k, axis=1)[:, groups - top_k]
        found_rows, found = np.divmod(np.flatnonzero(logits >= bounds[:, None]), vocabulary)
        counts = np.bincount(found_rows, minlength=rows)
        places = np.arange(len(found)) - np.repeat(counts.cumsum() - counts, counts)
        candidates = np.zeros((rows, counts.max()), dtype=np.int64)
        scores = np.full(candidates.shape, -np.inf)
        candidates[found_rows, places] = found
        scores[found_rows, places] = logits[found_rows, found]
    order = np.argsort(-scores, axis=1, kind="stable")[:, :top_k]
    return np.take_along_axis(candidates, order, axis=1), np.take_along_axis(scores, order, axis=1)
