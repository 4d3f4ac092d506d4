"""What synthetic queries are worth: agreement with the teacher, cleanliness, and the labels that follow.

Everything is counted a document, so that figures, intervals and paired differences come from the same
arrays (`services.training.metrics`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from services.training.metrics import PerQuery
from shared.contracts.base import Contract, Identifier

AGREEMENT = 0.8
"""Cosine from which a query says what one of the teacher's says."""


class Written(Contract):
    """What was written for one document: its clean queries, and how many lines were dropped and why."""

    document_id: Identifier
    queries: list[str]
    dropped: dict[str, int] = Field(default_factory=dict)


class EncodesTexts(Protocol):
    """What measuring agreement needs of an encoder."""

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return (texts, dimensions) float32 unit vectors, in the order given."""
        ...


@dataclass(frozen=True)
class Reference:
    """What the queries of some documents are judged by.

    Args:
        teacher: document id -> the teacher's queries, for the documents it answered.
        relevant: document id -> the train queries that truly find it.
    """

    teacher: Mapping[str, Sequence[str]]
    relevant: Mapping[str, frozenset[str]]


@dataclass(frozen=True)
class Quality:
    """Ratios of sums over documents, by name."""

    ratios: dict[str, PerQuery] = field(default_factory=dict)

    def figures(self, digits: int = 4) -> dict[str, float]:
        """Return every ratio as one number; 0 where there was nothing to count."""
        return {
            name: round(ratio.mean, digits) if ratio.base.sum() else 0.0
            for name, ratio in self.ratios.items()
        }


def measure(
    rows: Sequence[Written],
    labels: Mapping[str, Mapping[str, float]],
    reference: Reference,
    encoder: EncodesTexts,
    *,
    malformed: frozenset[str],
) -> Quality:
    """Return the quality of what was written for some documents.

    `teacher_precision` is the share of queries with one of the teacher's at cosine .8 or more, and
    `teacher_recall` the share of the teacher's with one of them, over documents that it answered;
    `label_precision` and `label_recall` compare labels with the train queries that truly find a
    document; `mapped_share` is the share of documents with a label.

    Args:
        rows: one a document.
        labels: document id -> train query id -> similarity, at tau or above.
        reference: the teacher and the truth.
        encoder: for agreement.
        malformed: the reasons that count as malformed.
    """
    agreement = _agreement(rows, reference.teacher, encoder)
    lines = [len(row.queries) + sum(row.dropped.values()) for row in rows]
    hits = [
        len(reference.relevant.get(row.document_id, frozenset()) & set(_of(labels, row)))
        for row in rows
    ]
    counts = [len(_of(labels, row)) for row in rows]
    relevant = [len(reference.relevant.get(row.document_id, ())) for row in rows]
    ones = [1] * len(rows)
    return Quality(
        {
            "label_precision": _ratio(hits, counts),
            "label_recall": _ratio(hits, relevant),
            "labels_per_document": _ratio(counts, ones),
            "mapped_share": _ratio([count > 0 for count in counts], ones),
            **agreement,
            "queries_per_document": _ratio([len(row.queries) for row in rows], ones),
            "malformed_share": _ratio(
                [sum(row.dropped.get(reason, 0) for reason in malformed) for row in rows], lines
            ),
            "duplicate_share": _ratio([row.dropped.get("repeated", 0) for row in rows], lines),
            "title_share": _ratio([row.dropped.get("title", 0) for row in rows], lines),
        }
    )


def _agreement(
    rows: Sequence[Written], teacher: Mapping[str, Sequence[str]], encoder: EncodesTexts
) -> dict[str, PerQuery]:
    answered = [row for row in rows if teacher.get(row.document_id)]
    texts = sorted(
        {text for row in answered for text in (*row.queries, *teacher[row.document_id])}
    )
    place = {text: number for number, text in enumerate(texts)}
    vectors = encoder.encode(texts) if texts else np.zeros((0, 1), dtype=np.float32)
    agreed, written, found, wanted = [], [], [], []
    for row in answered:
        ours = vectors[[place[text] for text in row.queries]]
        theirs = vectors[[place[text] for text in teacher[row.document_id]]]
        agree = ours @ theirs.T >= AGREEMENT
        agreed.append(int(agree.any(axis=1).sum()))
        found.append(int(agree.any(axis=0).sum()))
        written.append(len(ours))
        wanted.append(len(theirs))
    return {
        "teacher_precision": _ratio(agreed, written),
        "teacher_recall": _ratio(found, wanted),
    }


def _of(labels: Mapping[str, Mapping[str, float]], row: Written) -> Mapping[str, float]:
    return labels.get(row.document_id, {})


def _ratio(value: Sequence[int], base: Sequence[int]) -> PerQuery:
    return PerQuery(np.array(value, dtype=np.float64), np.array(base, dtype=np.float64))
