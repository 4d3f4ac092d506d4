from pathlib import Path

import pytest

from shared.errors import InvalidInput
from shared.formats.trec import read_qrels


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "qrels.txt"
    path.write_text(text)
    return path


def test_judgements_are_read_by_white_space_with_ids_escaped(tmp_path: Path) -> None:
    path = written(tmp_path, "q1 0 doc/1 2\n\nq1\tQ0\tdoc2\t-1\n")

    assert read_qrels(path) == {"q1": {"doc~2F1": 2.0, "doc2": 0.0}}


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("q1 0 d1 1\nq1 0 d1 1\n", ":2: .*twice"),
        ("q1 0 d1\n", ":1: expected query"),
        ("q1 0 d1 yes\n", ":1: 'yes' is not a whole number"),
    ],
)
def test_a_malformed_line_is_named(tmp_path: Path, text: str, reason: str) -> None:
    with pytest.raises(InvalidInput, match=reason):
        read_qrels(written(tmp_path, text))
