"""What the rows of the table of labels' worth learn from."""

import numpy as np

from loadtests.label_use import AS_IT_IS, WAYS
from services.training.sources import Written, gather
from services.training.supervision import Supervision
from shared.contracts.document import Document
from shared.dataset import Dataset, Query

DATASET = Dataset(
    [Document(id=each, title=each) for each in ("saw", "oboe")],
    [Query(id="q", text="reed")],
    clicks={"q": {"saw": 3.0}},
    truth={},
)
SOURCES = gather(
    DATASET,
    np.eye(2, dtype=np.float32),
    written=Written([], {"q": {"oboe": 0.75, "saw": 0.5}}),
)


def learned(name: str) -> tuple[list[str], list[list[float]], list[list[float]]]:
    """Return queries, targets and weights of a row."""
    supervision: Supervision = WAYS[name].learns(SOURCES)
    labels = supervision.labels
    return (
        list(supervision.queries),
        labels.targets.toarray().tolist(),
        labels.weights.toarray().tolist(),
    )


def test_each_row_changes_one_thing() -> None:
    queries, own = ["reed", "saw", "oboe"], [[1, 0], [0, 1]]

    assert learned(AS_IT_IS) == (queries, [[1, 1], *own], [[1, 1], *own])
    assert learned("soft labels") == (queries, [[1, 0.75], *own], [[1, 1], *own])
    assert learned("weighted labels") == (queries, [[1, 1], *own], [[1, 0.75], *own])
    assert learned("labels that count half") == (queries, [[1, 1], *own], [[1, 0.5], *own])
    assert learned("no titles as queries") == (["reed"], [[1, 1]], [[1, 1]])
    assert learned("shortlists") == learned(AS_IT_IS)


def test_only_the_rows_of_shortlists_have_them_of_any_catalogue() -> None:
    limits = {name: way.classifiers.shortlist_documents for name, way in WAYS.items()}

    assert limits.pop("shortlists") == limits.pop("short shortlists") == 0
    assert set(limits.values()) == {150_000}
