"""Labels that trusted queries lead to, judged by the truth of train queries: how a benchmark compares bounds of trust."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from loadtests.results import Value
from services.mapping.trust import Trust
from services.training.distillation.judging import NEIGHBOURS, Judge
from shared.contracts.synthetic_queries import WrittenQueries

TAU = 0.9
"""As in `skim distill evaluate`."""


class TrustedLabels:
    """The labels that follow from queries, each text encoded and mapped once."""

    def __init__(self, judge: Judge, texts: Sequence[str]) -> None:
        self._judge = judge
        cosines = judge.encoder.encode(texts) @ judge.query_vectors.T
        nearest = np.argpartition(-cosines, NEIGHBOURS - 1, axis=1)[:, :NEIGHBOURS]
        self._reached = {
            text: {judge.query_ids[query] for query in near if row[query] >= TAU}
            for text, near, row in zip(texts, nearest, cosines, strict=True)
        }

    def figures(self, together: Sequence[WrittenQueries], trust: Trust) -> dict[str, Value]:
        """Return precision and recall of the labels that the trusted queries lead to."""
        hits = labels = relevant = queries = 0
        for document, written in zip(self._judge.documents, together, strict=True):
            trusted = trust.trusted(written)
            true = self._judge.reference.relevant[document.id]
            reached = set().union(*(self._reached[text] for text in trusted))
            hits, labels = hits + len(reached & true), labels + len(reached)
            relevant, queries = relevant + len(true), queries + len(trusted)
        return {
            "label_precision": round(hits / max(labels, 1), 4),
            "label_recall": round(hits / max(relevant, 1), 4),
            "label_f1": round(2 * hits / max(labels + relevant, 1), 4),
            "queries_per_document": round(queries / len(together), 2),
        }
