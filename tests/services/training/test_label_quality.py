import pytest

from services.training.label_quality import label_quality

CLICKS = {"q1": {"d0": 1.0}}
TRUTH = {"q1": {"d0": 1.0, "d1": 1.0, "d2": 1.0}}
LABELS = {"q1": {"d0": 0.9, "d1": 0.9, "d3": 0.7}, "q2": {"d1": 0.8}}


def test_clicks_are_neither_added_nor_missing_and_unjudged_queries_do_not_count() -> None:
    quality = label_quality(LABELS, TRUTH, CLICKS)

    assert quality.added == 3
    assert (quality.precision, quality.recall) == (0.5, 0.5)


def test_a_stricter_tau_keeps_only_labels_that_reach_it() -> None:
    quality = label_quality(LABELS, TRUTH, CLICKS, tau=0.9)

    assert (quality.tau, quality.added) == (0.9, 1)
    assert (quality.precision, quality.recall) == (1.0, pytest.approx(0.5))


def test_quality_is_unknown_without_truth() -> None:
    quality = label_quality(LABELS, {}, CLICKS)

    assert (quality.precision, quality.recall) == (None, None)
