"""Find knowledge gaps: what the click log never showed, what augmentation reached of it, what it did not.

Clicks and labels are matrices (train queries, documents); a label that is a click counts as the click.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from services.training.labels import Pairs, added_pairs, only_of, pair_matrix
from services.training.query_clusters import Clusters, cluster
from shared.contracts.synthetic_queries import SyntheticQueries
from shared.dataset import Dataset, Query
from shared.errors import InvalidInput
from shared.report_page.gap_figures import (
    ClusterGaps,
    Coverage,
    DocumentGaps,
    Hub,
    Hubs,
    KnowledgeGaps,
    QueryCluster,
    ReachedDocument,
    Unmapped,
    UnmappedGroup,
    Unreachable,
)

COVERAGE_AT = (1, 2, 3, 5, 10, 20, 50, 100)


@dataclass(frozen=True)
class GapSettings:
    """How fine the report looks."""

    query_clusters: int | None = None
    """Clusters of train queries; the square root of their number if absent. More clusters are smaller
    cells, and more of them are empty."""
    hub_document_share: float = 0.01
    """A train query with labels of this share of all documents is a hub."""
    examples: int = 8
    """Of each kind; a group of queries shows four."""
    seed: int = 0


QUERIES_SHOWN = 4


@dataclass(frozen=True)
class EmbeddedQueries:
    """Each distinct synthetic query once.

    Args:
        texts: as written.
        vectors: (texts, dimensions) float32 unit vectors.
        nearest: (texts,) cosine to the nearest train query.
    """

    texts: Sequence[str]
    vectors: NDArray[np.float32]
    nearest: NDArray[np.float32]


def find_gaps(
    dataset: Dataset,
    labels: Pairs,
    written: Sequence[SyntheticQueries],
    embedded: EmbeddedQueries,
    query_vectors: NDArray[np.float32],
    *,
    min_similarity: float,
    settings: GapSettings = GapSettings(),
) -> KnowledgeGaps:
    """Return the report of one data folder and its augmented labels.

    Args:
        dataset: train queries, clicks, and their truth if it is known; other queries are not read.
        labels: query id -> document id -> cosine, of train queries, made with `min_similarity`.
        written: the synthetic queries of each document.
        embedded: the distinct ones among them.
        query_vectors: (train queries, dimensions) float32 unit vectors, in file order.
        min_similarity: tau, as a cosine.
        settings: clusters, hubs, examples.

    Raises:
        InvalidInput: there is no document or no train query, or a vector is missing.
    """
    log = _Log(dataset, labels)
    if not (log.queries and log.titles):
        raise InvalidInput(
            f"{len(log.titles)} documents, {len(log.queries)} train queries; expected some"
        )
    if len(query_vectors) != len(log.queries) or len(embedded.vectors) != len(embedded.texts):
        raise InvalidInput(
            f"{len(query_vectors)} vectors of {len(log.queries)} train queries, "
            f"{len(embedded.vectors)} of {len(embedded.texts)} synthetic queries; expected one each"
        )
    clusters = cluster(query_vectors, settings.query_clusters, seed=settings.seed)
    return KnowledgeGaps(
        documents=len(dataset.documents),
        train_queries=len(log.queries),
        clicks=log.clicks.nnz,
        labels_added=log.added.nnz,
        min_similarity=min_similarity,
        document_gaps=_document_gaps(log, settings.examples),
        cluster_gaps=_cluster_gaps(log, clusters, settings.examples),
        coverage=_coverage(log),
        unreachable=_unreachable(log, clusters),
        unmapped=_unmapped(written, embedded, min_similarity, settings),
        hubs=_hubs(log, settings),
    )


class _Log:
    """Clicks, added labels and truth of the train queries, as (queries, documents) matrices."""

    def __init__(self, dataset: Dataset, labels: Pairs) -> None:
        self.queries: Sequence[Query] = dataset.queries_of("train")
        self.titles = [document.title for document in dataset.documents]
        columns = {document.id: column for column, document in enumerate(dataset.documents)}
        clicks = only_of(dataset.clicks, self.queries, columns)
        added = added_pairs(only_of(labels, self.queries, columns), clicks)
        truth = only_of(dataset.truth, self.queries, columns)
        self.clicks: sp.csr_array = _ones(pair_matrix(self.queries, columns, clicks))
        self.similarities: sp.csr_array = pair_matrix(self.queries, columns, added)
        self.added: sp.csr_array = _ones(self.similarities)
        self.truth: sp.csr_array = _ones(pair_matrix(self.queries, columns, _relevant(truth)))
        self.is_judged = np.array([query.id in truth for query in self.queries], dtype=bool)

    @property
    def right(self) -> sp.csr_array:
        """Return the added labels that are relevant."""
        return self.added.multiply(self.truth).tocsr()


def _document_gaps(log: _Log, examples: int) -> DocumentGaps:
    without = _per_document(log.clicks) == 0
    gained = _per_document(log.added)
    reached = without & (gained > 0)
    rightly = reached & (_per_document(log.right) > 0)
    by_document = log.similarities.tocsc()
    return DocumentGaps(
        without_click=int(without.sum()),
        reached=int(reached.sum()),
        reached_rightly=int(rightly.sum()) if log.is_judged.any() else None,
        examples=[
            _reached_document(log, by_document, column, int(gained[column]))
            for column in _largest(np.where(reached, gained, 0), examples)
        ],
    )


def _reached_document(
    log: _Log, by_document: sp.csc_array, column: int, labels: int
) -> ReachedDocument:
    span = slice(by_document.indptr[column], by_document.indptr[column + 1])
    best = int(np.argmax(by_document.data[span]))
    return ReachedDocument(
        title=log.titles[column],
        labels=labels,
        query=log.queries[by_document.indices[span][best]].text,
        similarity=round(float(by_document.data[span][best]), 4),
    )


def _cluster_gaps(log: _Log, clusters: Clusters, examples: int) -> ClusterGaps:
    sizes = np.bincount(clusters.of, minlength=clusters.count)
    cells = _cells(log.added, clusters)
    labels = cells.sum(axis=1).astype(np.int64)
    without = (sizes > 0) & (_cells(log.clicks, clusters).sum(axis=1) == 0)
    reached = without & (labels > 0)
    return ClusterGaps(
        clusters=int((sizes > 0).sum()),
        without_click=int(without.sum()),
        reached=int(reached.sum()),
        examples=[
            QueryCluster(
                queries=[log.queries[row].text for row in clusters.nearest(number, QUERIES_SHOWN)],
                train_queries=int(sizes[number]),
                labels=int(labels[number]),
                documents=int(np.diff(cells.indptr)[number]),
            )
            for number in _largest(np.where(reached, labels, 0), examples)
        ],
    )


def _coverage(log: _Log) -> list[Coverage]:
    both = log.clicks + log.added
    counts = [
        counted(pairs) for counted in (_per_document, _per_query) for pairs in (log.clicks, both)
    ]
    most = max(int(numbers.max(initial=0)) for numbers in counts)
    curve = []
    for at_least in COVERAGE_AT:
        if at_least > max(most, 1):
            break
        shares = [float((numbers >= at_least).mean()) for numbers in counts]
        curve.append(
            Coverage(
                at_least=at_least,
                documents_before=shares[0],
                documents_after=shares[1],
                queries_before=shares[2],
                queries_after=shares[3],
            )
        )
    return curve


def _unreachable(log: _Log, clusters: Clusters) -> Unreachable:
    has_truth = bool(log.truth.nnz)
    pairs = (log.truth if has_truth else log.added).tocoo()
    cells = _cells(log.clicks, clusters).tocoo()
    width = len(log.titles)
    keys = clusters.of[pairs.coords[0]] * width + pairs.coords[1]
    clicked = cells.coords[0].astype(np.int64) * width + cells.coords[1]
    is_empty = ~np.isin(keys, clicked)
    labelled: int | None = None
    if has_truth:
        right = log.right.tocoo()
        labelled = int(
            (~np.isin(clusters.of[right.coords[0]] * width + right.coords[1], clicked)).sum()
        )
    return Unreachable(
        basis="truth" if has_truth else "labels",
        pairs=len(keys),
        in_empty_cells=int(is_empty.sum()),
        share=_share(int(is_empty.sum()), len(keys)),
        labelled=labelled,
    )


def _unmapped(
    written: Sequence[SyntheticQueries],
    embedded: EmbeddedQueries,
    min_similarity: float,
    settings: GapSettings,
) -> Unmapped:
    rows = np.flatnonzero(embedded.nearest.astype(np.float64) < min_similarity)
    texts = [embedded.texts[row] for row in rows.tolist()]
    unmapped = set(texts)
    writers: dict[str, set[str]] = {}
    for row in written:
        for text in unmapped.intersection(row.queries):
            writers.setdefault(text, set()).add(row.document_id)
    groups = cluster(embedded.vectors[rows], seed=settings.seed)
    sizes = np.bincount(groups.of, minlength=groups.count)
    return Unmapped(
        synthetic_queries=len(embedded.texts),
        unmapped=len(texts),
        share=_share(len(texts), len(embedded.texts)),
        documents=sum(bool(row.queries) and unmapped.issuperset(row.queries) for row in written),
        examples=[
            UnmappedGroup(
                queries=[texts[row] for row in groups.nearest(number, QUERIES_SHOWN)],
                synthetic_queries=int(sizes[number]),
                documents=len(
                    set[str]().union(
                        *(
                            writers.get(texts[row], set())
                            for row in np.flatnonzero(groups.of == number)
                        )
                    )
                ),
            )
            for number in _largest(sizes, settings.examples)
        ],
    )


def _hubs(log: _Log, settings: GapSettings) -> Hubs:
    documents = _per_query(log.added)
    clicks, right = _per_query(log.clicks), _per_query(log.right)
    is_hub = documents >= max(settings.hub_document_share * len(log.titles), 1)
    return Hubs(
        document_share=settings.hub_document_share,
        train_queries=int(is_hub.sum()),
        label_share=_share(int(documents[is_hub].sum()), log.added.nnz),
        examples=[
            Hub(
                query=log.queries[row].text,
                documents=int(documents[row]),
                label_share=_share(int(documents[row]), log.added.nnz),
                clicks=int(clicks[row]),
                precision=(
                    _share(int(right[row]), int(documents[row])) if log.is_judged[row] else None
                ),
            )
            for row in _largest(documents, settings.examples)
        ],
    )


def _relevant(truth: Pairs) -> Mapping[str, Mapping[str, float]]:
    return {
        query_id: {document_id: grade for document_id, grade in row.items() if grade > 0}
        for query_id, row in truth.items()
    }


def _ones(matrix: sp.csr_array) -> sp.csr_array:
    return sp.csr_array((np.ones(matrix.nnz), matrix.indices, matrix.indptr), shape=matrix.shape)


def _cells(pairs: sp.csr_array, clusters: Clusters) -> sp.csr_array:
    """Return how many pairs each cell holds: (clusters, documents)."""
    rows = len(clusters.of)
    members = sp.csr_array(
        (np.ones(rows), (clusters.of, np.arange(rows))), shape=(clusters.count, rows)
    )
    return (members @ pairs).tocsr()


def _per_document(pairs: sp.csr_array) -> NDArray[np.int64]:
    counts: NDArray[np.int64] = np.bincount(pairs.indices, minlength=pairs.shape[1])
    return counts


def _per_query(pairs: sp.csr_array) -> NDArray[np.int64]:
    counts: NDArray[np.int64] = np.diff(pairs.indptr).astype(np.int64)
    return counts


def _largest(counts: NDArray[np.int64], limit: int) -> list[int]:
    """Return the positions of the largest counts above 0; of equals the first."""
    order = np.argsort(-counts, kind="stable")[:limit]
    return [int(position) for position in order if counts[position] > 0]


def _share(part: int, whole: int) -> float:
    return part / whole if whole else 0.0
