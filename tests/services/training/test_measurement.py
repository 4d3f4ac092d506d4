from dataclasses import replace

import numpy as np
import pytest

from services.training.measurement import Measurement, difference, row_of, spelled
from shared.contracts.document import Document
from shared.dataset import Dataset, Query
from shared.errors import InvalidInput

DATASET = Dataset(
    documents=[Document(id=f"d{n}", title="t") for n in range(4)],
    queries=[
        Query(id="train", text="a"),
        Query(id="t1", text="b", split="test"),
        Query(id="t2", text="c", split="test"),
        Query(id="t3", text="d", split="test"),
    ],
    clicks={"train": {"d0": 1.0}, "t1": {"d0": 9.0}},
    truth={"t1": {"d0": 1.0, "d1": 1.0}, "t2": {"d2": 1.0}, "t3": {"d2": 0.0}},
)
RANKED = np.array([[0, 3, 2, 1], [2, 0, 1, 3]])


def test_queries_without_truth_are_left_out_and_counted() -> None:
    measurement = Measurement(DATASET)

    assert [query.id for query in measurement.queries] == ["t1", "t2"]
    assert measurement.without_truth == 1


def test_without_truth_there_is_nothing_to_measure() -> None:
    with pytest.raises(InvalidInput, match="no truth"):
        Measurement(replace(DATASET, truth={}))


def test_the_biased_test_believes_the_log() -> None:
    measurement = Measurement(DATASET)

    assert measurement.of(RANKED)["recall@1"].mean == pytest.approx(0.75)
    assert measurement.biased(RANKED)["biased_recall@1"].mean == 1.0
    assert Measurement(replace(DATASET, clicks={})).biased(RANKED) == {}


def test_head_and_tail_are_those_of_the_train_clicks() -> None:
    row = row_of(Measurement(DATASET).of(RANKED))

    # d0 is clicked in train; d1 is found last of all, d2 first
    assert row["head_recall_at_1"] == 1.0
    assert row["tail_recall_at_1"] == 0.5
    assert "torso_recall_at_1" not in row


def test_a_difference_has_interval_and_test() -> None:
    measurement = Measurement(DATASET)
    better, worse = measurement.of(RANKED), measurement.of(RANKED[:, ::-1])

    row = difference(better, worse)

    assert row["recall_at_10"] == 0
    assert row["precision_at_1"] > 0
    assert row["precision_at_1_low"] <= row["precision_at_1"] <= row["precision_at_1_high"]
    assert 0 < row["precision_at_1_p"] <= 1


@pytest.mark.parametrize(
    ("metric", "name"),
    [
        ("P@1", "precision_at_1"),
        ("biased_nDCG@10", "biased_ndcg_at_10"),
        ("tail_recall@100", "tail_recall_at_100"),
    ],
)
def test_metrics_are_spelled_out(metric: str, name: str) -> None:
    assert spelled(metric) == name
