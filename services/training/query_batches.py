"""Which pairs share a batch: similar queries, so that each other's documents are hard negatives.

Queries are clustered by their current embeddings into small balanced clusters and a batch is made of
whole clusters (NGAME, Dahiya et al. 2023); a share of the pairs is batched at random, as a batch of
near neighbours only would show a query nothing of the rest.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from services.training.classifiers import LabelMatrix

_ROUNDS = 5
"""Of 2-means at each halving; the split moves little after the third."""


@dataclass(frozen=True)
class Block:
    """The labels among a batch's queries and documents; the arrays are (queries, documents)."""

    queries: NDArray[np.int64]
    """Rows of the label matrix, each once."""
    documents: NDArray[np.int64]
    """Columns, each once."""
    is_positive: NDArray[np.bool_]
    """Every known label, drawn for this batch or not."""
    is_drawn: NDArray[np.bool_]
    targets: NDArray[np.float32]
    weights: NDArray[np.float32]


def balanced_clusters(
    vectors: NDArray[np.float32], size: int, random: np.random.Generator
) -> NDArray[np.int64]:
    """Return each row's cluster; all clusters have `size` rows or fewer, and more than a third of it.

    Halves again and again: 2-means whose border is put where both sides are equal.

    Args:
        vectors: (rows, dimensions) float32 unit vectors.
        size: most rows of a cluster.
        random: chooses where the centres start.
    """
    clusters = np.zeros(len(vectors), dtype=np.int64)
    waiting, done = [np.arange(len(vectors))], 0
    while waiting:
        members = waiting.pop()
        if len(members) <= size:
            clusters[members] = done
            done += 1
            continue
        waiting += _halved(vectors, members, random)
    return clusters


def epoch_batches(
    labels: sp.csr_array,
    clusters: NDArray[np.int64] | None,
    *,
    batch_size: int,
    pairs_per_query: int,
    random_share: float,
    random: np.random.Generator,
) -> list[NDArray[np.int64]]:
    """Return one epoch's (pairs, 2) arrays of row and column, of the same length, give or take one.

    Args:
        labels: (queries, documents); its values are not read.
        clusters: of each query; None batches all pairs at random.
        batch_size: most pairs of a batch.
        pairs_per_query: most pairs of a query in an epoch, drawn at random.
        random_share: of the queries whose pairs are batched at random all the same.
        random: drawn from in a fixed order.
    """
    pairs = _drawn(labels, pairs_per_query, random)
    pairs = pairs[random.permutation(len(pairs))]
    if clusters is not None:
        is_hard = random.random(labels.shape[0]) >= random_share
        place = (
            random.permutation(clusters.max() + 1)[clusters] + 1
        )  # random ones come first, as 0
        pairs = pairs[np.argsort(np.where(is_hard, place, 0)[pairs[:, 0]], kind="stable")]
    batches = np.array_split(pairs, batches_in_epoch(labels, batch_size, pairs_per_query))
    return [batches[number] for number in random.permutation(len(batches))]


def batches_in_epoch(labels: sp.csr_array, batch_size: int, pairs_per_query: int) -> int:
    """Return how many batches `epoch_batches` will make."""
    pairs = int(np.minimum(np.diff(labels.indptr), pairs_per_query).sum())
    return math.ceil(pairs / batch_size)


def block_of(labels: LabelMatrix, pairs: NDArray[np.int64]) -> Block:
    """Return the queries and documents of (pairs, 2) rows and columns, and all labels among them."""
    queries, rows = np.unique(pairs[:, 0], return_inverse=True)
    documents, columns = np.unique(pairs[:, 1], return_inverse=True)
    targets, weights = labels.targets[queries], labels.weights[queries]
    known_rows = np.repeat(np.arange(len(queries)), np.diff(targets.indptr))
    known_columns = np.searchsorted(documents, targets.indices).clip(max=len(documents) - 1)
    is_here = documents[known_columns] == targets.indices
    where = (known_rows[is_here], known_columns[is_here])
    shape = (len(queries), len(documents))
    block = Block(
        queries,
        documents,
        is_positive=np.zeros(shape, dtype=np.bool_),
        is_drawn=np.zeros(shape, dtype=np.bool_),
        targets=np.zeros(shape, dtype=np.float32),
        weights=np.zeros(shape, dtype=np.float32),
    )
    block.is_drawn[rows, columns] = True
    block.is_positive[where] = True
    block.targets[where] = targets.data[is_here]
    block.weights[where] = weights.data[is_here]
    return block


def _drawn(
    labels: sp.csr_array, pairs_per_query: int, random: np.random.Generator
) -> NDArray[np.int64]:
    counts = np.diff(labels.indptr)
    rows = np.repeat(np.arange(len(counts)), counts)
    shuffled = np.lexsort((random.random(len(rows)), rows))  # within each row
    ranks = np.arange(len(rows)) - np.repeat(labels.indptr[:-1], counts)
    kept = np.sort(shuffled[ranks < pairs_per_query])
    return np.stack([rows[kept], labels.indices[kept]], axis=1).astype(np.int64)


def _halved(
    vectors: NDArray[np.float32], members: NDArray[np.int64], random: np.random.Generator
) -> list[NDArray[np.int64]]:
    rows = vectors[members]
    half = len(members) // 2
    first, second = rows[random.choice(len(rows), 2, replace=False)]
    for _ in range(_ROUNDS):
        order = np.argsort(rows @ (first - second), kind="stable")
        first, second = rows[order[half:]].mean(axis=0), rows[order[:half]].mean(axis=0)
    return [members[order[:half]], members[order[half:]]]
