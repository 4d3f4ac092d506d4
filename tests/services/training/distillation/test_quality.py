"""What synthetic queries are worth, counted by hand."""

from collections.abc import Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

from services.training.distillation.key_phrases import key_phrases
from services.training.distillation.quality import Reference, Written, measure
from shared.contracts.document import Document

ROWS = [
    Written(document_id="oboe", queries=["woodwind", "music"], dropped={"title": 1, "markup": 1}),
    Written(document_id="saw", queries=["tool"]),
    Written(document_id="cup", queries=[], dropped={"repeated": 2}),
]
REFERENCE = Reference(
    teacher={"oboe": ["woodwind", "reed"], "saw": ["tool", "blade", "cutter"]},
    relevant={"oboe": frozenset({"q1", "q2"}), "saw": frozenset({"q3"}), "cup": frozenset({"q4"})},
)
LABELS = {"oboe": {"q1": 0.9, "q9": 0.9}, "saw": {"q3": 0.95}}


class OneAxisAText:
    """Texts are alike only if they are equal."""

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        return np.eye(len(texts), dtype=np.float32)


def test_figures_are_ratios_of_sums() -> None:
    quality = measure(ROWS, LABELS, REFERENCE, OneAxisAText(), malformed=frozenset({"markup"}))

    assert quality.figures() == {
        "label_precision": pytest.approx(2 / 3, abs=1e-4),
        "label_recall": 0.5,
        "labels_per_document": 1.0,
        "mapped_share": pytest.approx(2 / 3, abs=1e-4),
        "teacher_precision": pytest.approx(2 / 3, abs=1e-4),
        "teacher_recall": 0.4,
        "queries_per_document": 1.0,
        "malformed_share": pytest.approx(1 / 7, abs=1e-4),
        "duplicate_share": pytest.approx(2 / 7, abs=1e-4),
        "title_share": pytest.approx(1 / 7, abs=1e-4),
    }


def test_nothing_written_is_nought_and_no_error() -> None:
    rows = [Written(document_id="oboe", queries=[])]

    figures = measure(rows, {}, REFERENCE, OneAxisAText(), malformed=frozenset()).figures()

    assert figures["label_precision"] == 0
    assert figures["teacher_recall"] == 0


def test_key_phrases_come_from_the_document_and_are_clean() -> None:
    document = Document(
        id="chair", title="camp chair", text="a light folding chair; see https://x.example/chair"
    )

    (row,) = key_phrases([document])

    assert "folding chair" in row.queries
    assert "chair" in row.queries
    assert not any("http" in query or "example" in query for query in row.queries)
    words = {"camp", "chair", "a", "light", "folding", "see"}
    assert {word for query in row.queries for word in query.split()} <= words
