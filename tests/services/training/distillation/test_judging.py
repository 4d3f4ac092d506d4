"""Judging ways of writing queries on the same held-out documents."""

from collections.abc import Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

from services.training.distillation.judging import Judge, as_figures, as_table
from services.training.distillation.quality import Written
from services.training.distillation.teacher_data import Example, is_held_out
from shared.contracts.document import Document
from shared.dataset import Dataset, Query

DOCUMENTS = [Document(id=f"d{n}", title=f"thing {n}") for n in range(300)]
HELD = [document.id for document in DOCUMENTS if is_held_out(document.id)]
QUERIES = [Query(id="q1", text="tool"), Query(id="q2", text="cup")]
TRUTH = {"q1": {HELD[0]: 1.0, HELD[1]: 0.0, "d0": 1.0}, "q2": {HELD[1]: 2.0}}
DATASET = Dataset(documents=DOCUMENTS, queries=QUERIES, clicks={}, truth=TRUTH)
ANGLES = {"tool": 0.0, "cup": 90.0, "near tool": 20.0, "between": 45.0}


class OnACircle:
    """Texts are points of a circle, at the angles above (degrees)."""

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        angles = np.radians([ANGLES[text] for text in texts])
        return np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)


@pytest.fixture
def judge() -> Judge:
    example = Example(next(d for d in DOCUMENTS if d.id == HELD[-1]), ["tool"])
    return Judge.of_held_out(DATASET, [example], QUERIES, OnACircle(), count=len(HELD))


def _rows(judge: Judge, **queries: list[str]) -> list[Written]:
    return [
        Written(document_id=document.id, queries=queries.get(document.id, []))
        for document in judge.documents
    ]


def test_only_held_out_documents_are_judged_answered_ones_first(judge: Judge) -> None:
    assert {document.id for document in judge.documents} == set(HELD)
    assert judge.documents[0].id == HELD[-1]


def test_a_label_is_a_train_query_at_the_similarity_or_above(judge: Judge) -> None:
    rows = _rows(judge, **{HELD[0]: ["near tool", "between"], HELD[1]: ["tool"]})

    strict = judge.judge(rows, 0.9).figures()
    loose = judge.judge(rows, 0.7).figures()

    assert strict["label_precision"] == 0.5, "tool is right for the first document only"
    assert strict["label_recall"] == 0.5, "the second one's cup is not found"
    assert loose["label_precision"] == pytest.approx(1 / 3, abs=1e-4), (
        "'between' adds cup, wrongly"
    )


def test_the_table_has_a_line_a_row_and_gains_are_paired(judge: Judge) -> None:
    good = judge.judge(_rows(judge, **{HELD[0]: ["tool"], HELD[1]: ["cup"]}), 0.9)
    poor = judge.judge(_rows(judge, **{HELD[0]: ["tool"], HELD[1]: ["tool"]}), 0.9)

    figures = as_figures({"shipped": good, "other": poor}, shipped="shipped")

    assert figures["shipped_gains"]["other"]["label_recall"][0] == 0.5
    assert figures["shipped_gains"]["other"]["label_precision"][0] == 0.5
    assert len(as_table(figures).splitlines()) == 4


def test_documents_without_train_queries_are_judged_by_the_teacher_alone() -> None:
    judge = Judge.of_taught([Example(DOCUMENTS[0], ["tool", "cup"])], OnACircle())

    figures = judge.judge([Written(document_id="d0", queries=["near tool"])], 1.0).figures()

    assert figures["teacher_precision"] == 1.0
    assert figures["teacher_recall"] == 0.5
    assert not any(name.startswith("label") for name in figures)
