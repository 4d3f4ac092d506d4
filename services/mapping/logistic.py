"""Logistic regression over piecewise linear columns: small enough to read, quick enough to serve."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from shared.contracts.base import Contract

_SHARES = (0.5, 0.8, 0.95, 0.99)
"""A column bends where so many of its known values lie below."""
_RIDGE = 3.0
_STEPS, _ENOUGH = 50, 1e-6
_ROWS_AT_ONCE = 100_000

Floats = NDArray[np.float64]


class Column(Contract):
    """One number that speaks for a candidate: where its line bends, and the slopes between."""

    name: str
    lowest: float
    highest: float
    """Of the values it was fitted on; others are drawn to these."""
    bends: list[float]
    weight_if_known: float
    slopes: list[float]
    """From `lowest` on, and what each bend adds."""


class Logistic(Contract):
    """Probability = sigmoid(bias + a piecewise linear function of each column); an unknown value adds nothing."""

    bias: float
    columns: list[Column]

    def probabilities(self, rows: NDArray[np.float32]) -> Floats:
        """Return (rows,) in (0, 1); `rows` is (rows, columns), NaN where unknown."""
        return sigmoid(self.scores(rows))

    def scores(self, rows: NDArray[np.float32]) -> Floats:
        """Return (rows,) the same as log odds."""
        scores = np.full(len(rows), self.bias)
        for number, column in enumerate(self.columns):
            weights = np.array([column.weight_if_known, *column.slopes])
            scores += (
                _basis(rows[:, number], column.lowest, column.highest, column.bends) @ weights
            )
        return scores


def fit_logistic(
    names: Sequence[str], rows: NDArray[np.float32], targets: NDArray[np.bool_]
) -> Logistic:
    """Fit by Newton's method with a ridge on standardised slopes.

    Args:
        names: of the columns.
        rows: (rows, columns) float32, NaN where unknown.
        targets: (rows,) of both kinds.
    """
    shapes = [_shape(rows[:, number]) for number in range(len(names))]
    parts = [_basis(rows[:, number], *shape) for number, shape in enumerate(shapes)]
    design = np.concatenate(parts, axis=1)
    means, scales = design.mean(axis=0), design.std(axis=0)
    scales[scales < 1e-9] = np.inf  # says nothing: slope 0
    design = np.column_stack([(design - means) / scales, np.ones(len(design))])
    solution = _newton(design, targets.astype(np.float64))
    slopes = solution[:-1] / scales
    columns, start = [], 0
    for name, (lowest, highest, bends), part in zip(names, shapes, parts, strict=True):
        known, *rest = slopes[start : start + part.shape[1]].tolist()
        start += part.shape[1]
        columns.append(
            Column(
                name=name,
                lowest=lowest,
                highest=highest,
                bends=bends,
                weight_if_known=known,
                slopes=rest,
            )
        )
    return Logistic(bias=float(solution[-1] - slopes @ means), columns=columns)


def _shape(values: NDArray[np.float32]) -> tuple[float, float, list[float]]:
    known = values[np.isfinite(values)].astype(np.float64)
    if not len(known):
        return 0.0, 0.0, []
    lowest, highest = float(known.min()), float(known.max())
    bends = np.unique(np.quantile(known, _SHARES))
    return lowest, highest, [float(each) for each in bends if lowest < each < highest]


def _basis(
    values: NDArray[np.float32], lowest: float, highest: float, bends: Sequence[float]
) -> Floats:
    """Return (values, 2 + bends): 1 if known, how far above the lowest, how far above each bend."""
    known = np.isfinite(values)
    clipped = np.where(known, values, lowest).astype(np.float64).clip(lowest, highest)
    above = np.maximum(clipped[:, None] - np.array([lowest, *bends]), 0)
    return np.column_stack([known.astype(np.float64), above])


def _newton(design: Floats, targets: Floats) -> Floats:
    penalty = np.full(design.shape[1], _RIDGE)
    penalty[-1] = 0
    weights = np.zeros(design.shape[1])
    for _ in range(_STEPS):
        gradient, hessian = penalty * weights, np.diag(penalty)
        for start in range(0, len(design), _ROWS_AT_ONCE):
            part = design[start : start + _ROWS_AT_ONCE]
            chances = sigmoid(part @ weights)
            gradient += part.T @ (chances - targets[start : start + _ROWS_AT_ONCE])
            hessian += (part * (chances * (1 - chances))[:, None]).T @ part
        step = np.linalg.solve(hessian + 1e-9 * np.eye(len(weights)), gradient)
        # A long step overshoots where classes are nearly apart.
        weights -= step * min(1.0, 5.0 / max(float(np.abs(step).max()), 1e-12))
        if np.abs(step).max() < _ENOUGH:
            break
    return weights


def sigmoid(scores: Floats) -> Floats:
    """Return probabilities of log odds."""
    chances: Floats = 1 / (1 + np.exp(-scores.clip(-500, 500)))
    return chances
