from dataclasses import replace

import numpy as np
import pytest

from services.training.embeddings import CachedEncoder
from services.training.train import embed_documents
from services.training.validation import validation_metrics
from shared.contracts.document import Document
from shared.dataset import Dataset, Query


def test_metrics_are_those_of_a_hand_computed_case(encoder: CachedEncoder) -> None:
    documents = [Document(id=name, title=name) for name in ("a", "b", "c")]
    queries = [
        Query(id="v1", text="first", split="validation"),
        Query(id="v2", text="second", split="validation"),
        Query(id="v3", text="third", split="validation"),
        Query(id="t1", text="test", split="test"),
    ]
    first, second = encoder.encode(["first", "second"], max_tokens=32)
    vectors = np.stack([first, second, -first - second]).astype(np.float32)
    truth = {"v1": {"a": 1.0}, "v2": {"a": 1.0, "b": 0.0}, "t1": {"c": 1.0}}
    told = validation_metrics(
        vectors, Dataset(documents, queries, {"v1": {"b": 2.0}}, truth), encoder
    )

    assert told == {
        "validation: P@1": 0.5,
        "validation: recall@10": 1.0,
        "validation: recall@100": 1.0,
        "validation: queries": 2,
        "validation clicks: P@1": 0.0,
        "validation clicks: recall@10": 1.0,
        "validation clicks: recall@100": 1.0,
        "validation clicks: queries": 1,
    }


@pytest.mark.parametrize("split", ["train", "test"])
def test_queries_of_other_splits_are_never_measured(
    dataset: Dataset, encoder: CachedEncoder, split: str
) -> None:
    vectors = embed_documents(dataset.documents, encoder, "title")
    others = {query.id for query in dataset.queries_of(split)}  # type: ignore[arg-type]
    without = replace(
        dataset,
        truth={id_: row for id_, row in dataset.truth.items() if id_ not in others},
        clicks={id_: row for id_, row in dataset.clicks.items() if id_ not in others},
    )

    assert validation_metrics(vectors, dataset, encoder) == validation_metrics(
        vectors, without, encoder
    )


def test_without_validation_queries_there_is_nothing_to_tell(
    dataset: Dataset, encoder: CachedEncoder
) -> None:
    vectors = embed_documents(dataset.documents, encoder, "title")
    queries = [query for query in dataset.queries if query.split != "validation"]

    assert validation_metrics(vectors, replace(dataset, queries=queries), encoder) == {}
