"""How probable it is that a candidate is right: fitted on those whose outcome is known, for those whose is not.

A log knows the outcome of what it showed. Which candidates are likelier all columns tell; how many are right in all is taken
from what the synthetic queries say alone. What was clicked for a train query is like what was shown for it, right or wrong,
so that a model which compares with it takes too many of the pairs that were not shown for wrong.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from services.mapping.calibration import BY_EVIDENCE, Source, probabilities
from services.mapping.evidence import Rows
from services.mapping.logistic import Logistic, fit_logistic, sigmoid
from services.mapping.outcomes import Outcomes
from shared.errors import InvalidInput

_LEAST_OUTCOMES = 30
"""Of each kind, right and wrong; fewer calibrate nothing."""
_MOST_OUTCOMES = 200_000
_OF_A_LOG: Sequence[Source] = ("impressions", "clicks")
_SUREST = 0.01
"""Share of candidates that are taken to be right where nothing else tells how many clicks are missing."""
_MOST_SHIFT, _HALVINGS = 20.0, 40


def fitted(names: Sequence[str], rows: Rows, outcomes: Outcomes) -> tuple[Logistic, float]:
    """Return a model, and what its probabilities are divided by (`Calibration.corrected_by`).

    Args:
        names: of the columns; those of the evidence come first.
        rows: (candidates, columns) of all of them.
        outcomes: of the candidates.

    Raises:
        InvalidInput: too few outcomes of either kind are known.
    """
    known = outcomes.is_known
    model = _fit(names, rows[known], outcomes.is_right[known])
    corrected_by = _corrected_by(model, rows, outcomes)
    if outcomes.source not in _OF_A_LOG or len(names) <= len(BY_EVIDENCE):
        return model, corrected_by
    evidence = rows[:, : len(BY_EVIDENCE)]
    plain, plainly_corrected_by = fitted(BY_EVIDENCE, evidence, outcomes)
    right = float(probabilities(plain, evidence, plainly_corrected_by).sum())
    return _expecting(model, rows, corrected_by, right), corrected_by


def _corrected_by(model: Logistic, rows: Rows, outcomes: Outcomes) -> float:
    if outcomes.source != "clicks":
        return 1.0
    if outcomes.logged is not None:
        return outcomes.logged
    chances = model.probabilities(rows)
    surest = chances >= np.quantile(chances, 1 - _SUREST)
    return float(np.clip(outcomes.is_right[surest].mean(), 1e-3, 1.0))


def _expecting(model: Logistic, rows: Rows, corrected_by: float, right: float) -> Logistic:
    """Return the model with the bias at which it expects so many of the rows to be right in all.

    Args:
        model: says which are likelier; that stays.
        rows: at least one.
        corrected_by: see `Calibration`.
        right: above 0 and below the number of rows.
    """
    scores, low, high = model.scores(rows), -_MOST_SHIFT, _MOST_SHIFT
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        expected = np.minimum(sigmoid(scores + middle) / corrected_by, 1.0).sum()
        low, high = (middle, high) if expected < right else (low, middle)
    return model.model_copy(update={"bias": model.bias + (low + high) / 2})


def _fit(names: Sequence[str], rows: Rows, outcomes: NDArray[np.bool_]) -> Logistic:
    """Fit a model on candidates whose outcome is known, of very many on some.

    Raises:
        InvalidInput: too few of either kind.
    """
    right = int(outcomes.sum())
    if min(right, len(outcomes) - right) < _LEAST_OUTCOMES:
        raise InvalidInput(
            f"{right} right and {len(outcomes) - right} wrong candidates are known; a calibration "
            f"needs {_LEAST_OUTCOMES} of each"
        )
    if len(outcomes) > _MOST_OUTCOMES:
        some = np.random.default_rng(0).choice(len(outcomes), _MOST_OUTCOMES, replace=False)
        rows, outcomes = rows[some], outcomes[some]
    return fit_logistic(names, rows, outcomes)
