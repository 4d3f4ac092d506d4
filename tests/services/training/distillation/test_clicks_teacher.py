"""The click teacher: train queries that found a document are its answers."""

from services.training.distillation.clicks_teacher import click_examples
from shared.contracts.document import Document
from shared.dataset import Dataset, Query

DATASET = Dataset(
    documents=[Document(id=name, title=name) for name in ("oboe", "saw", "cup")],
    queries=[
        Query(id="q1", text="woodwind", split="train"),
        Query(id="q2", text="thing", split="train"),
        Query(id="q3", text="secret", split="test"),
        Query(id="q4", text="held", split="validation"),
        Query(id="q5", text="tool", split="train"),
    ],
    clicks={
        "q1": {"oboe": 1},
        "q2": {"oboe": 1, "saw": 1, "cup": 1},
        "q3": {"oboe": 9, "saw": 9},
        "q4": {"cup": 9},
        "q5": {"saw": 2},
    },
    truth={},
)


def test_well_covered_documents_learn_their_clicked_train_queries_general_ones_first() -> None:
    examples = click_examples(DATASET, min_queries=2)

    assert [(example.document.id, example.queries) for example in examples] == [
        ("oboe", ["thing", "woodwind"]),
        ("saw", ["thing", "tool"]),
    ]


def test_queries_of_other_splits_are_never_learned() -> None:
    examples = click_examples(DATASET, min_queries=1)

    learned = {query for example in examples for query in example.queries}
    assert learned == {"thing", "woodwind", "tool"}


def test_no_more_queries_are_learned_than_wanted() -> None:
    examples = click_examples(DATASET, min_queries=2, max_queries=1)

    assert all(example.queries == ["thing"] for example in examples)
