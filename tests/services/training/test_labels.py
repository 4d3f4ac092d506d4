import numpy as np
import pytest

from services.training.labels import (
    LabelKind,
    LabelUse,
    added_pairs,
    at_least,
    count,
    label_matrix,
    only_of,
)
from shared.dataset import Query

QUERIES = [Query(id="q1", text="one"), Query(id="q2", text="two")]
POSITIONS = {"d1": 0, "d2": 1, "d3": 2}
CLICKS = {"q1": {"d1": 5.0}}
ADDED = {"q1": {"d2": 0.8}, "q2": {"d3": 0.6}}


def test_only_known_queries_and_documents_are_kept() -> None:
    pairs = {"q1": {"d1": 1.0, "gone": 1.0}, "q2": {"gone": 1.0}, "other": {"d1": 1.0}}

    assert only_of(pairs, QUERIES, POSITIONS) == {"q1": {"d1": 1.0}}


def test_a_label_that_is_a_click_is_not_added() -> None:
    added = added_pairs({"q1": {"d1": 0.9, "d2": 0.8}, "q2": {"d1": 0.7}}, CLICKS)

    assert added == {"q1": {"d2": 0.8}, "q2": {"d1": 0.7}}
    assert count(added) == 2


@pytest.mark.parametrize(
    ("kind", "targets", "weights"),
    [
        ("hard", [[1, 1, 0], [0, 0, 1]], [[1, 0.5, 0], [0, 0, 0.5]]),
        ("soft", [[1, 0.8, 0], [0, 0, 0.6]], [[1, 0.5, 0], [0, 0, 0.5]]),
        ("weighted", [[1, 1, 0], [0, 0, 1]], [[1, 0.4, 0], [0, 0, 0.3]]),
    ],
)
def test_the_kind_decides_what_a_similarity_means(
    kind: LabelKind, targets: list[list[float]], weights: list[list[float]]
) -> None:
    matrix = label_matrix(QUERIES, POSITIONS, CLICKS, ADDED, LabelUse(kind, weight=0.5))

    assert matrix.targets.toarray() == pytest.approx(np.array(targets))
    assert matrix.weights.toarray() == pytest.approx(np.array(weights))


def test_targets_and_weights_have_one_structure_even_at_similarity_zero() -> None:
    matrix = label_matrix(QUERIES, POSITIONS, CLICKS, {"q2": {"d1": -0.2}}, LabelUse("soft"))

    assert matrix.targets.indices.tolist() == matrix.weights.indices.tolist() == [0, 0]
    assert matrix.targets.data.tolist() == [1, 0]


def test_labels_from_a_value_on_are_kept_and_queries_without_any_are_gone() -> None:
    pairs = {"q1": {"d1": 0.9, "d2": 0.7}, "q2": {"d1": 0.5}}

    assert at_least(pairs, 0.7) == {"q1": {"d1": 0.9, "d2": 0.7}}
    assert at_least(pairs, 0.8) == {"q1": {"d1": 0.9}}
    assert at_least(pairs, None) == pairs
