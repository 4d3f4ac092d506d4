"""What `skim distill tune` lets a student learn from."""

from pathlib import Path

from services.cli.student import Teacher, taught_examples
from shared.contracts.document import Document
from shared.dataset import Dataset, Query, write_dataset
from tests.support.files import jsonl, write

CLICKED = Document(id="d1", title="oboe")
ANSWERED = Document(id="d2", title="saw")
DATASET = Dataset(
    [CLICKED, ANSWERED],
    [
        Query(id="q1", text="woodwind"),
        Query(id="q2", text="musical instrument"),
        Query(id="q3", text="double reed"),
        Query(id="q4", text="orchestra", split="test"),
    ],
    {name: {"d1": 1.0} for name in ("q1", "q2", "q3", "q4")},
    {},
)


def _folder(home: Path) -> Path:
    write_dataset(home / "data", DATASET)
    other = {"q1": "train", "q2": "train", "q3": "test", "q4": "train"}
    write(home / "data" / "splits" / "other.tsv", "".join(f"{k}\t{v}\n" for k, v in other.items()))
    return home / "data"


def test_clicks_of_a_query_that_any_split_holds_out_teach_nothing(tmp_path: Path) -> None:
    (example,) = taught_examples(_folder(tmp_path), Teacher.CLICKS, None, None)

    assert example.document == CLICKED
    assert sorted(example.queries) == ["musical instrument", "woodwind"]


def test_both_teachers_teach_together(tmp_path: Path) -> None:
    answers = write(tmp_path / "answers.jsonl", jsonl({"id": "d2", "queries": ["hand tool"]}))

    examples = taught_examples(_folder(tmp_path), Teacher.BOTH, answers, None)

    assert [example.document.id for example in examples] == ["d2", "d1"]
