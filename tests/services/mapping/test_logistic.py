import numpy as np
import pytest

from services.mapping.logistic import Logistic, fit_logistic

RANDOM = np.random.default_rng(0)


def test_probabilities_are_those_of_the_outcomes() -> None:
    similarity = RANDOM.uniform(0.5, 1, 20_000).astype(np.float32)
    chances = np.where(similarity < 0.8, 0.1, 0.1 + 4 * (similarity - 0.8))
    outcomes = RANDOM.random(20_000) < chances

    fitted = fit_logistic(["similarity"], similarity[:, None], outcomes)

    at = np.array([[0.6], [0.7], [0.9], [0.99]], dtype=np.float32)
    assert fitted.probabilities(at) == pytest.approx([0.1, 0.1, 0.5, 0.86], abs=0.06)


def test_what_is_not_known_is_told_apart_from_every_value() -> None:
    rows = RANDOM.normal(size=(4_000, 1)).astype(np.float32)
    rows[:2_000] = np.nan
    outcomes = np.concatenate([RANDOM.random(2_000) < 0.7, RANDOM.random(2_000) < 0.2])

    fitted = fit_logistic(["score"], rows, outcomes)

    unknown, known = fitted.probabilities(np.array([[np.nan], [0.0]], dtype=np.float32))
    assert (unknown, known) == pytest.approx((0.7, 0.2), abs=0.04)


def test_values_beyond_those_fitted_on_are_drawn_to_them() -> None:
    rows = RANDOM.uniform(0, 1, (1_000, 1)).astype(np.float32)
    fitted = fit_logistic(["score"], rows, rows[:, 0] > RANDOM.random(1_000))

    inside, beyond = fitted.probabilities(np.array([[rows.max()], [1e6]], dtype=np.float32))
    assert beyond == inside


def test_a_column_that_says_nothing_changes_nothing() -> None:
    rows = RANDOM.uniform(0, 1, (1_000, 2)).astype(np.float32)
    rows[:, 1] = np.nan
    outcomes = rows[:, 0] > 0.5

    fitted = fit_logistic(["score", "nothing"], rows, outcomes)

    with_value = rows.copy()
    with_value[:, 1] = 3
    assert np.array_equal(fitted.probabilities(rows), fitted.probabilities(with_value))


def test_outcomes_that_a_column_parts_cleanly_leave_finite_slopes() -> None:
    rows = np.linspace(0, 1, 500, dtype=np.float32)[:, None]

    fitted = fit_logistic(["score"], rows, rows[:, 0] > 0.5)

    chances = fitted.probabilities(rows)
    assert np.isfinite(chances).all()
    assert chances[0] < 0.05
    assert chances[-1] > 0.95


def test_a_model_survives_json() -> None:
    rows = RANDOM.uniform(0, 1, (200, 1)).astype(np.float32)
    fitted = fit_logistic(["score"], rows, rows[:, 0] > RANDOM.random(200))

    again = Logistic.model_validate_json(fitted.model_dump_json())

    assert np.array_equal(again.probabilities(rows), fitted.probabilities(rows))
