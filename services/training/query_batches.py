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
import torch
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
    vectors: torch.Tensor, size: int, random: np.random.Generator
) -> NDArray[np.int64]:
    """Return each row's cluster; no cluster has more than `size` rows, and most have more than half of it.

    Halves again and again, all clusters of a level at once: 2-means whose border is put where both
    sides are equal. Where the rows do not halve to the end, a few take part twice.

    Args:
        vectors: (rows, dimensions) float32 unit vectors; the work is done where they are.
        size: most rows of a cluster.
        random: chooses where the centres start.
    """
    rows, device = len(vectors), vectors.device
    levels = math.ceil(math.log2(max(1.0, rows / size)))
    parts = 2**levels
    members = torch.arange(math.ceil(rows / parts) * parts, device=device) % rows
    for level in range(levels):
        members = _halved(vectors, members.view(2**level, -1), random)
    clusters = torch.empty(rows, dtype=torch.int64, device=device)
    numbers = torch.arange(parts, device=device).repeat_interleave(len(members.flatten()) // parts)
    clusters[members.flatten()] = numbers
    return clusters.cpu().numpy()


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
    vectors: torch.Tensor, members: torch.Tensor, random: np.random.Generator
) -> torch.Tensor:
    """Return (clusters, members) rows with each cluster's halves one after the other."""
    clusters, size = members.shape
    points = vectors[members]
    drawn = random.random((clusters, size)).argpartition(1, axis=1)[:, :2]
    chosen = torch.from_numpy(drawn).to(members.device)
    centres = points.gather(1, chosen.unsqueeze(2).expand(-1, -1, points.shape[2]))
    for _ in range(_ROUNDS):
        across = (centres[:, 0] - centres[:, 1]).unsqueeze(2)
        order = torch.bmm(points, across).squeeze(2).argsort(dim=1, stable=True)
        is_upper = torch.zeros(clusters, size, device=members.device)
        is_upper.scatter_(1, order[:, size // 2 :], 1.0)
        sides = torch.stack([is_upper, 1 - is_upper], dim=1)
        centres = torch.bmm(sides, points) / (size / 2)
    return members.gather(1, order)
