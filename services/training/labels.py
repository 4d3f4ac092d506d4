"""Clicks and augmented labels as the matrices that training learns from and metrics measure with."""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
import scipy.sparse as sp

from services.training.classifiers import LabelMatrix

if TYPE_CHECKING:
    from shared.dataset import Query

LabelKind = Literal["hard", "soft", "weighted"]
Pairs = Mapping[str, Mapping[str, float]]
"""Query id -> document id -> clicks, similarity or relevance."""


@dataclass(frozen=True)
class LabelUse:
    """What an augmented label is worth beside a click, whose target and weight are 1."""

    kind: LabelKind = "hard"
    """hard: target 1. soft: the similarity is the target. weighted: target 1, counted by similarity."""
    weight: float = 1.0
    """Times which every augmented label counts."""


def only_of(
    pairs: Pairs, queries: Sequence[Query], documents: Container[str]
) -> dict[str, Mapping[str, float]]:
    """Return the pairs of these queries and documents; from other queries none may be learned."""
    known = {
        query.id: {
            document_id: value
            for document_id, value in pairs.get(query.id, {}).items()
            if document_id in documents
        }
        for query in queries
    }
    return {query_id: row for query_id, row in known.items() if row}


def at_least(pairs: Pairs, value: float | None) -> Pairs:
    """Return the pairs of this value or more; all of them if it is None."""
    if value is None:
        return pairs
    kept = {
        query_id: {document_id: each for document_id, each in row.items() if each >= value}
        for query_id, row in pairs.items()
    }
    return {query_id: row for query_id, row in kept.items() if row}


def only_relevant(pairs: Pairs) -> dict[str, Mapping[str, float]]:
    """Return the pairs whose value is above 0."""
    relevant = {
        query_id: {document_id: value for document_id, value in row.items() if value > 0}
        for query_id, row in pairs.items()
    }
    return {query_id: row for query_id, row in relevant.items() if row}


def added_pairs(labels: Pairs, clicks: Pairs) -> dict[str, Mapping[str, float]]:
    """Return the labels that are no clicks."""
    added = {
        query_id: {
            document_id: similarity
            for document_id, similarity in row.items()
            if document_id not in clicks.get(query_id, {})
        }
        for query_id, row in labels.items()
    }
    return {query_id: row for query_id, row in added.items() if row}


def count(pairs: Pairs) -> int:
    """Return how many pairs there are."""
    return sum(len(row) for row in pairs.values())


def label_matrix(
    queries: Sequence[Query],
    positions: Mapping[str, int],
    clicks: Pairs,
    added: Pairs,
    use: LabelUse,
) -> LabelMatrix:
    """Return targets and weights, (queries, documents), of clicks and of labels that are no clicks.

    Args:
        queries: the rows.
        positions: document id -> column; every pair's document has one.
        clicks: target and weight 1 each, however often clicked.
        added: augmented labels, none of them a click.
        use: what they are worth.
    """
    targets = pair_matrix(queries, positions, clicks)
    targets.data[:] = 1
    similarities = pair_matrix(queries, positions, added)
    similarities.data = similarities.data.clip(0, 1)
    ones = similarities.copy()
    ones.data[:] = 1
    added_targets = similarities if use.kind == "soft" else ones
    added_weights = (similarities if use.kind == "weighted" else ones) * np.float32(use.weight)
    return LabelMatrix(_union(targets, added_targets), _union(targets, added_weights))


def pair_matrix(
    queries: Sequence[Query], positions: Mapping[str, int], pairs: Pairs
) -> sp.csr_array:
    """Return the values of pairs as a (queries, documents) float32 matrix; see `label_matrix`."""
    rows: list[int] = []
    columns: list[int] = []
    values: list[float] = []
    for row, query in enumerate(queries):
        for document_id, value in pairs.get(query.id, {}).items():
            rows.append(row)
            columns.append(positions[document_id])
            values.append(value)
    shape = (len(queries), len(positions))
    matrix = sp.coo_array((np.array(values, dtype=np.float32), (rows, columns)), shape=shape)
    return matrix.tocsr()


def _union(first: sp.csr_array, second: sp.csr_array) -> sp.csr_array:
    """Add two matrices without a common pair, and keep pairs whose value is 0."""
    first, second = first.tocoo(), second.tocoo()
    rows = np.concatenate([first.coords[0], second.coords[0]])
    columns = np.concatenate([first.coords[1], second.coords[1]])
    values = np.concatenate([first.data, second.data])
    return sp.coo_array((values, (rows, columns)), shape=first.shape).tocsr()
