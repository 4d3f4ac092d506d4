"""What a model learns from: texts that stand as queries, and the documents each is labelled with.

Every arm of the evaluation, and `skim train`, is the same training on another supervision.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import scipy.sparse as sp

from services.training.classifiers import LabelMatrix
from services.training.labels import (
    LabelUse,
    Pairs,
    added_pairs,
    count,
    label_matrix,
    only_of,
    pair_matrix,
)
from shared.contracts.document import Document
from shared.contracts.synthetic_queries import SyntheticQueries
from shared.dataset import Dataset, Query
from shared.errors import InvalidInput


@dataclass(frozen=True)
class Supervision:
    """Queries and their labels: one row a query, one column a document. No row is empty."""

    queries: Sequence[str]
    """Train queries; also titles and synthetic queries that are trained on directly."""
    labels: LabelMatrix
    train_queries: int = 0
    """How many of the rows are train queries (this and the next two for a bundle's card)."""
    clicks: int = 0
    """How many of the labels are clicks."""
    added: int = 0
    """How many are none, titles' own documents left aside."""
    synthetic: range = range(0)
    """Which of the rows are synthetic queries."""

    @property
    def sha256(self) -> str:
        """Return the hash of queries and labels."""
        digest = hashlib.sha256()
        for query in self.queries:
            digest.update(b"%d:" % len(query.encode()) + query.encode())
        for matrix in (self.labels.targets, self.labels.weights):
            digest.update(repr(matrix.shape).encode())
            for part, kind in (("indptr", "<i8"), ("indices", "<i8"), ("data", "<f4")):
                digest.update(getattr(matrix, part).astype(kind).tobytes())
        return digest.hexdigest()


def supervise(
    dataset: Dataset,
    labels: Pairs,
    use: LabelUse,
    written: Sequence[SyntheticQueries] = (),
) -> Supervision:
    """Return clicks, labels, titles and synthetic queries as one, as `skim train` learns from them.

    Args:
        dataset: only train queries and their clicks are read.
        labels: query id -> document id -> similarity; those of other than train queries, or of
            unknown documents, are left out.
        use: what an augmented label is worth.
        written: synthetic queries to learn as they are; those of unknown documents are left out.

    Raises:
        InvalidInput: there are no documents, or neither clicks nor labels of train queries.
    """
    if not dataset.documents:
        raise InvalidInput("no documents to train on")
    queries, positions = dataset.queries_of("train"), positions_of(dataset.documents)
    clicks = only_of(dataset.clicks, queries, positions)
    known = only_of(labels, queries, positions)
    supervision = with_titles(of_labels(queries, positions, clicks, known, use), dataset.documents)
    kept = [row for row in written if row.document_id in positions]
    return with_synthetic_queries(supervision, positions, kept) if kept else supervision


def of_labels(
    queries: Sequence[Query],
    positions: Mapping[str, int],
    clicks: Pairs,
    labels: Pairs,
    use: LabelUse,
) -> Supervision:
    """Return clicks and labels of `queries`; queries with neither are left out.

    Raises:
        InvalidInput: no query has one.
    """
    added = added_pairs(labels, clicks)
    labelled = _labelled(queries, clicks, added)
    return Supervision(
        [query.text for query in labelled],
        label_matrix(labelled, positions, clicks, added, use),
        train_queries=len(labelled),
        clicks=count(clicks),
        added=count(added),
    )


def of_pairs(
    queries: Sequence[Query], positions: Mapping[str, int], targets: Pairs, weights: Pairs
) -> Supervision:
    """Return pairs with a target and a weight each; queries without any are left out.

    Args:
        queries: the rows.
        positions: document id -> column.
        targets: query id -> document id -> target in [0, 1]; a target of 1 counts as a click.
        weights: the same pairs -> how much each counts.

    Raises:
        InvalidInput: no query has a pair.
    """
    labelled = _labelled(queries, targets)
    matrices = [pair_matrix(labelled, positions, pairs) for pairs in (targets, weights)]
    for matrix in matrices:
        matrix.sort_indices()
    clicks = int((matrices[0].data == 1).sum())
    return Supervision(
        [query.text for query in labelled],
        LabelMatrix(*matrices),
        train_queries=len(labelled),
        clicks=clicks,
        added=matrices[0].nnz - clicks,
    )


def with_titles(supervision: Supervision, documents: Sequence[Document]) -> Supervision:
    """Add each document's title as a query whose answer is that document (Renee; NGAME)."""
    own = sp.identity(len(documents), dtype=np.float32, format="csr")
    return with_texts(
        supervision, [document.title for document in documents], LabelMatrix(own, own)
    )


def with_texts(supervision: Supervision, texts: Sequence[str], labels: LabelMatrix) -> Supervision:
    """Add texts that are no train queries, labelled as given."""
    return replace(
        supervision,
        queries=[*supervision.queries, *texts],
        labels=LabelMatrix(
            sp.vstack([supervision.labels.targets, labels.targets], format="csr"),
            sp.vstack([supervision.labels.weights, labels.weights], format="csr"),
        ),
    )


def with_synthetic_queries(
    supervision: Supervision,
    positions: Mapping[str, int],
    written: Sequence[SyntheticQueries],
) -> Supervision:
    """Add each distinct synthetic query, labelled with all documents it was written for.

    Args:
        supervision: to add to.
        positions: document id -> column.
        written: of known documents only.
    """
    documents_of: dict[str, set[int]] = defaultdict(set)
    for row in written:
        for query in row.queries:
            documents_of[query].add(positions[row.document_id])
    lengths = [len(documents) for documents in documents_of.values()]
    columns = [each for documents in documents_of.values() for each in sorted(documents)]
    labels = sp.csr_array(
        (
            np.ones(len(columns), dtype=np.float32),
            np.array(columns, dtype=np.int64),
            np.cumsum([0, *lengths]),
        ),
        shape=(len(documents_of), len(positions)),
    )
    before = len(supervision.queries)
    return replace(
        with_texts(supervision, list(documents_of), LabelMatrix(labels, labels)),
        synthetic=range(before, before + len(documents_of)),
    )


def positions_of(documents: Sequence[Document]) -> dict[str, int]:
    """Return document id -> position."""
    return {document.id: position for position, document in enumerate(documents)}


def _labelled(queries: Sequence[Query], *pairs: Pairs) -> list[Query]:
    labelled = [query for query in queries if any(query.id in each for each in pairs)]
    if not labelled:
        raise InvalidInput("nothing to train on: no train query has a click or a label")
    return labelled
