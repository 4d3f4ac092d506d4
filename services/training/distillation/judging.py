"""Judges ways of writing synthetic queries on the same held-out documents, and tables of what they are worth."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from services.training.distillation.quality import (
    EncodesTexts,
    Quality,
    Reference,
    Written,
    measure,
)
from services.training.distillation.teacher_data import (
    Example,
    held_out_fraction,
    is_held_out,
)
from services.training.metrics import Interval, paired_difference
from shared.completion import MALFORMED
from shared.contracts.document import Document
from shared.dataset import Dataset, Query

NEIGHBOURS = 10
"""Train queries that one synthetic query may reach (the paper's)."""
GAINS = ("label_precision", "label_recall")
_MALFORMED = frozenset(reason.value for reason in MALFORMED)


@dataclass(frozen=True)
class Judge:
    """Documents that no student learned from, and what queries written for them are judged by.

    Args:
        documents: in a fixed order.
        reference: the teacher's answers and the truth of train queries.
        encoder: of agreement and of labels.
        query_ids: the train queries; none where labels are not judged.
        query_vectors: (train queries, dimensions) float32 unit vectors.
    """

    documents: Sequence[Document]
    reference: Reference
    encoder: EncodesTexts
    query_ids: Sequence[str]
    query_vectors: NDArray[np.float32]

    @classmethod
    def of_held_out(
        cls,
        dataset: Dataset,
        examples: Sequence[Example],
        queries: Sequence[Query],
        encoder: EncodesTexts,
        count: int,
    ) -> Judge:
        """Choose `count` held-out documents: those that the teacher answered first, then by their hash."""
        taught = {example.document.id: example.queries for example in examples}
        held = sorted(
            (document for document in dataset.documents if is_held_out(document.id)),
            key=lambda document: (document.id not in taught, held_out_fraction(document.id)),
        )[:count]
        relevant: dict[str, set[str]] = {document.id: set() for document in held}
        for query in queries:
            for document_id, relevance in dataset.truth.get(query.id, {}).items():
                if relevance > 0 and document_id in relevant:
                    relevant[document_id].add(query.id)
        return cls(
            held,
            Reference(
                {document.id: taught[document.id] for document in held if document.id in taught},
                {document_id: frozenset(ids) for document_id, ids in relevant.items()},
            ),
            encoder,
            [query.id for query in queries],
            encoder.encode([query.text for query in queries]),
        )

    @classmethod
    def of_taught(cls, examples: Sequence[Example], encoder: EncodesTexts) -> Judge:
        """Judge by the teacher's answers alone."""
        taught = {example.document.id: example.queries for example in examples}
        nothing = np.zeros((0, 1), dtype=np.float32)
        documents = [example.document for example in examples]
        return cls(documents, Reference(taught, {}), encoder, [], nothing)

    def judge(self, rows: Sequence[Written], min_similarity: float) -> Quality:
        """Return the quality of what was written for the documents, with labels from this cosine on."""
        labels = self._labels(rows, min_similarity) if self.query_ids else {}
        quality = measure(rows, labels, self.reference, self.encoder, malformed=_MALFORMED)
        if self.query_ids:
            return quality
        return Quality(
            {name: ratio for name, ratio in quality.ratios.items() if name not in _OF_LABELS}
        )

    def _labels(
        self, rows: Sequence[Written], min_similarity: float
    ) -> dict[str, dict[str, float]]:
        """Return document id -> train query id -> best cosine, by exact search."""
        texts = sorted({text for row in rows for text in row.queries})
        if not texts:
            return {}
        cosines = self.encoder.encode(texts) @ self.query_vectors.T
        neighbours = min(NEIGHBOURS, cosines.shape[1])
        nearest = np.argpartition(-cosines, neighbours - 1, axis=1)[:, :neighbours]
        reached = {
            text: {
                self.query_ids[query]: float(cosines[place, query])
                for query in nearest[place]
                if cosines[place, query] >= min_similarity
            }
            for place, text in enumerate(texts)
        }
        labels: dict[str, dict[str, float]] = {}
        for row in rows:
            best = labels.setdefault(row.document_id, {})
            for text in row.queries:
                for query_id, cosine in reached[text].items():
                    best[query_id] = max(best.get(query_id, -1.0), cosine)
        return labels


_OF_LABELS = {"label_precision", "label_recall", "labels_per_document", "mapped_share"}


def as_figures(qualities: Mapping[str, Quality], *, shipped: str) -> dict[str, Any]:
    """Return `rows` of figures, and in `shipped_gains` what one row has over each other.

    Gains are differences [estimate, low, high] with 95 % intervals, the same documents resampled for both.
    """
    figures: dict[str, Any] = {
        "rows": {name: quality.figures() for name, quality in qualities.items()}
    }
    ours = qualities.get(shipped)
    if ours is not None:
        figures["shipped_gains"] = {
            name: {
                key: _rounded(paired_difference(ours.ratios[key], quality.ratios[key]))
                for key in GAINS
                if quality.ratios[key].base.any()
            }
            for name, quality in qualities.items()
            if name != shipped
        }
    return figures


def as_table(figures: Mapping[str, Any]) -> str:
    """Return the rows as a Markdown table, one line a row."""
    rows: Mapping[str, Mapping[str, float]] = figures["rows"]
    columns = list(next(iter(rows.values())))
    lines = [["row", *columns], ["---"] * (len(columns) + 1)]
    lines += [[name, *(f"{row[column]:.3g}" for column in columns)] for name, row in rows.items()]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _rounded(interval: Interval) -> list[float]:
    return [round(bound, 4) for bound in (interval.value, interval.low, interval.high)]
