from dataclasses import replace

import numpy as np
import pytest

from services.training.labels import LabelUse
from services.training.supervision import of_pairs, supervise, with_texts, with_titles
from shared.contracts.synthetic_queries import SyntheticQueries
from shared.errors import InvalidInput
from tests.support.catalogue import DATASET

POSITIONS = {"d1": 0, "d2": 1}


def test_clicks_labels_and_titles_become_one() -> None:
    supervision = supervise(DATASET, {"q1": {"d1": 0.9}, "q2": {"d1": 0.7}}, LabelUse("soft"))

    assert supervision.queries == ["bed", "no clicks", "oak bed", "clock"]
    assert supervision.labels.targets.toarray() == pytest.approx(
        np.array([[1, 1], [0.7, 0], [1, 0], [0, 1]])
    )
    assert (supervision.train_queries, supervision.clicks, supervision.added) == (2, 2, 1)


def test_a_query_without_a_label_teaches_nothing() -> None:
    assert "no clicks" not in supervise(DATASET, {}, LabelUse()).queries


def test_synthetic_queries_teach_as_they_are_if_their_document_is_known() -> None:
    written = [
        SyntheticQueries(document_id="d2", queries=["wall clock", "oak"]),
        SyntheticQueries(document_id="d1", queries=["oak"]),
        SyntheticQueries(document_id="gone", queries=["lost"]),
    ]

    supervision = supervise(DATASET, {}, LabelUse(), written)

    taught = dict(
        zip(supervision.queries, supervision.labels.targets.toarray().tolist(), strict=True)
    )
    assert taught["wall clock"] == [0, 1]
    assert taught["oak"] == [1, 1]
    assert "lost" not in taught
    assert supervision.train_queries == supervise(DATASET, {}, LabelUse()).train_queries


def test_held_out_queries_teach_nothing() -> None:
    tempted = supervise(DATASET, {"q3": {"d1": 0.9}}, LabelUse())

    assert tempted.sha256 == supervise(DATASET, {}, LabelUse()).sha256


def test_targets_and_weights_are_kept_pair_by_pair() -> None:
    supervision = of_pairs(
        DATASET.queries,
        POSITIONS,
        targets={"q1": {"d2": 0.5, "d1": 1.0}},
        weights={"q1": {"d1": 4.0, "d2": 0.0}},
    )

    assert supervision.labels.targets.toarray().tolist() == [[1.0, 0.5]]
    assert supervision.labels.weights.toarray().tolist() == [[4.0, 0.0]]
    assert (supervision.labels.weights.indices == supervision.labels.targets.indices).all()
    assert (supervision.clicks, supervision.added) == (1, 1)


@pytest.mark.parametrize("changed", ["query", "target", "weight"])
def test_the_hash_follows_all_that_is_learned_from(changed: str) -> None:
    pairs = {"q1": {"d1": 0.5}}
    queries = DATASET.queries
    if changed == "query":
        queries = [queries[0].model_copy(update={"text": "other"}), *queries[1:]]
    other = {"q1": {"d1": 0.6}}

    first = of_pairs(DATASET.queries, POSITIONS, pairs, pairs)
    second = of_pairs(
        queries,
        POSITIONS,
        other if changed == "target" else pairs,
        other if changed == "weight" else pairs,
    )

    assert first.sha256 != second.sha256
    assert first.sha256 == of_pairs(DATASET.queries, POSITIONS, pairs, pairs).sha256


def test_texts_are_added_below() -> None:
    base = of_pairs(DATASET.queries, POSITIONS, DATASET.clicks, DATASET.clicks)
    own = with_titles(base, DATASET.documents)

    added = with_texts(
        base,
        ["oak bed", "clock"],
        replace(
            own.labels, **{name: getattr(own.labels, name)[1:] for name in ("targets", "weights")}
        ),
    )

    assert added.sha256 == own.sha256


@pytest.mark.parametrize("change", [{"clicks": {}}, {"queries": []}, {"documents": []}])
def test_nothing_to_learn_from_is_refused(change: dict[str, object]) -> None:
    with pytest.raises(InvalidInput, match="train on"):
        supervise(replace(DATASET, **change), {}, LabelUse())
