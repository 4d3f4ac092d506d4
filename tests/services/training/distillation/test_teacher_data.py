"""Teacher answers: joined with their documents, parted the same way every time."""

from pathlib import Path

import pytest

from services.training.distillation.teacher_data import Example, hold_out, read_examples
from shared.contracts.document import Document
from shared.errors import InvalidInput


def _example(number: int) -> Example:
    return Example(Document(id=f"d{number}", title=f"thing {number}"), ["query"])


def test_answers_are_joined_with_known_documents_only(tmp_path: Path) -> None:
    path = tmp_path / "teacher.jsonl"
    path.write_text('{"id": "a", "queries": ["x"]}\n{"id": "b", "queries": ["y"]}\n')

    examples = read_examples(path, [Document(id="b", title="bowl")])

    assert [(example.document.title, example.queries) for example in examples] == [("bowl", ["y"])]


def test_an_answer_without_queries_is_refused_by_line(tmp_path: Path) -> None:
    path = tmp_path / "teacher.jsonl"
    path.write_text('{"id": "a", "queries": ["x"]}\n{"id": "b", "queries": []}\n')

    with pytest.raises(InvalidInput, match=r"teacher\.jsonl:2:queries"):
        read_examples(path, [])


def test_a_refused_document_is_no_example_and_needs_a_reason(tmp_path: Path) -> None:
    path = tmp_path / "teacher.jsonl"
    path.write_text(
        '{"id": "a", "queries": [], "refused": "sorry"}\n{"id": "b", "queries": ["y"]}\n'
    )
    documents = [Document(id="a", title="axe"), Document(id="b", title="bowl")]

    assert [example.document.id for example in read_examples(path, documents)] == ["b"]

    path.write_text('{"id": "a", "queries": ["x"], "refused": "sorry"}\n')
    with pytest.raises(InvalidInput, match=r"teacher\.jsonl:1:queries"):
        read_examples(path, documents)


def test_a_tenth_is_held_out_and_never_changes_sides() -> None:
    examples = [_example(n) for n in range(1000)]

    learn, held = hold_out(examples)
    again_learn, _ = hold_out(list(reversed(examples[:500])))

    assert 70 <= len(held) <= 130
    assert len(learn) + len(held) == 1000
    assert {e.document.id for e in again_learn} <= {e.document.id for e in learn}
