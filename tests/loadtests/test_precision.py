from pathlib import Path

from loadtests.precision import compare
from shared.contracts.document import Document
from shared.dataset import Dataset, Query
from tests.support.tiny_models import write_encoder

TITLES = ("double reed", "sharp knife", "sweet pear", "long flute", "bread")


def test_what_eight_bits_change_is_measured_on_the_test_queries(tmp_path: Path) -> None:
    source = write_encoder(tmp_path / "tiny")
    documents = [Document(id=f"d{number}", title=title) for number, title in enumerate(TITLES)]
    queries = [
        Query(id="q0", text="sharp knife", split="test"),
        Query(id="q1", text="pear", split="test"),
        Query(id="q2", text="oboe", split="test"),
        Query(id="q3", text="bread", split="train"),
    ]
    truth = {"q0": {"d1": 1.0}, "q1": {"d2": 1.0, "d4": 1.0}, "q3": {"d4": 1.0}}

    figures = compare(source, Dataset(documents, queries, clicks={}, truth=truth))

    assert (figures["documents"], figures["queries"]) == (5, 2)
    assert figures["recall_at_100_fp32"] == figures["recall_at_100_int8"] == 100
    assert figures["recall_at_100_lost_points"] == 0
    assert figures["top_10_kept"] == 1
    assert 0 < float(figures["drift_mean"]) <= float(figures["drift_p99"]) < 0.05
