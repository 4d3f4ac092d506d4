"""What the comparisons of recipes and of searches count."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from loadtests.trusted_labels import TrustedLabels
from services.mapping.trust import Trust
from services.training.distillation.judging import NEIGHBOURS, Judge
from services.training.distillation.quality import Reference
from shared.contracts.document import Document
from shared.contracts.synthetic_queries import Evidence, WrittenQueries

TRAIN = [f"q{number}" for number in range(NEIGHBOURS + 1)]


class OneHot:
    """A vector of its own for each train query; what is none of them is far from all."""

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return (texts, train queries + 1)."""
        known = {name: place for place, name in enumerate(TRAIN)}
        vectors = np.zeros((len(texts), len(TRAIN) + 1), np.float32)
        for vector, text in zip(vectors, texts, strict=True):
            vector[known.get(text, len(TRAIN))] = 1
        return vectors


def test_labels_follow_from_what_is_trusted_only() -> None:
    encoder = OneHot()
    documents = [Document(id=name, title=name) for name in ("saw", "oboe")]
    relevant = {"saw": frozenset({"q0", "q1"}), "oboe": frozenset({"q2", "q3"})}
    judge = Judge(documents, Reference({}, relevant), encoder, TRAIN, encoder.encode(TRAIN))
    written = [
        WrittenQueries(queries=["q0", "q4"], evidence=[Evidence(1.0, -1), Evidence(0.25, -1)]),
        WrittenQueries(queries=["q2", "unknown"], evidence=[Evidence(0.5, -9), Evidence(1.0, -1)]),
    ]
    labels = TrustedLabels(judge, ["q0", "q2", "q4", "unknown"])

    everything = labels.figures(written, Trust(0, None, 0))
    likely = labels.figures(written, Trust(0.5, -2, 0))

    assert (everything["label_precision"], everything["label_recall"]) == (0.6667, 0.5)
    assert (likely["label_precision"], likely["label_recall"]) == (1.0, 0.25)
    assert (everything["label_f1"], likely["label_f1"]) == (0.5714, 0.4)
    assert everything["queries_per_document"] == 2.0
