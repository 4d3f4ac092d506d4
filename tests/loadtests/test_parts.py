"""What the rows of the table of parts learn from."""

from loadtests.parts import things_to_learn
from loadtests.validation import without_test
from shared.contracts.document import Document
from shared.contracts.synthetic_queries import Evidence, SyntheticQueries
from shared.dataset import Dataset, Query

DATASET = Dataset(
    [Document(id=f"d{n}", title=f"d{n}") for n in range(4)],
    [
        Query(id="q0", text="q0"),
        Query(id="q1", text="q1"),
        Query(id="held", text="held", split="validation"),
        Query(id="test", text="test", split="test"),
    ],
    clicks={"q0": {"d0": 1.0}},
    truth={"q0": {"d0": 1.0, "d1": 1.0}, "q1": {"d2": 1.0, "d3": 0.0}, "test": {"d3": 1.0}},
)
ROWS = [
    SyntheticQueries(
        document_id="d1", queries=["sure", "unsure"], evidence=[Evidence(1.0, -0.1), Evidence(0.0)]
    )
]
LABELS = {"q0": {"d0": 0.9, "d1": 0.8, "d2": 0.7}, "q1": {"d3": 0.9}}


def test_validation_queries_play_the_test_and_test_queries_are_gone() -> None:
    seen = without_test(DATASET)

    assert [query.id for query in seen.queries_of("test")] == ["held"]
    assert [query.id for query in seen.queries] == ["q0", "q1", "held"]


def test_each_row_says_how_many_pairs_it_adds_to_the_clicks() -> None:
    added = {name: pairs for name, (_, pairs) in things_to_learn(DATASET, ROWS, LABELS).items()}

    assert added == {
        "clicks": 0,
        "labels": 3,  # q0-d0 is a click
        "labels, the right ones": 1,  # q0-d1; q1-d3 was judged and is not relevant
        "true pairs at random, as many": 1,
        "full truth": 2,
        "labels + trusted synthetic queries": 3,
        "labels + all synthetic queries": 3,
    }
