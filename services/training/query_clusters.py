"""Queries that mean about the same, by spherical k-means over their embeddings.

In numpy, so that the same queries and seed give the same clusters whatever threads a library starts.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_ITERATIONS = 20
_POINTS_PER_CLUSTER = 256
"""So many vectors a cluster, sampled, move the centres; all of them are assigned."""
_ROWS_PER_STEP = 8_192


@dataclass(frozen=True)
class Clusters:
    """Where each vector belongs, and how near it is to the centre."""

    of: NDArray[np.int64]
    """(vectors,): the cluster of each."""
    cosine: NDArray[np.float32]
    """(vectors,): to the centre of its cluster."""
    count: int
    """Some may be empty."""

    def nearest(self, cluster: int, limit: int) -> list[int]:
        """Return the positions of a cluster's vectors that are nearest to its centre, best first."""
        members = np.flatnonzero(self.of == cluster)
        order = np.argsort(-self.cosine[members], kind="stable")[:limit]
        return [int(position) for position in members[order]]


def cluster(vectors: NDArray[np.float32], count: int | None = None, *, seed: int = 0) -> Clusters:
    """Part vectors into clusters; the same vectors and seed give the same ones.

    Args:
        vectors: (vectors, dimensions) float32 unit vectors; may be none.
        count: how many clusters, at most one a vector; the square root of the vectors if absent.
        seed: of the sample and the first centres.
    """
    if not len(vectors):
        return Clusters(np.empty(0, np.int64), np.empty(0, np.float32), 0)
    wanted = round(math.sqrt(len(vectors))) if count is None else count
    wanted = min(max(wanted, 1), len(vectors))
    chooser = np.random.default_rng(seed)
    sample = vectors
    if len(vectors) > wanted * _POINTS_PER_CLUSTER:
        chosen = chooser.choice(len(vectors), wanted * _POINTS_PER_CLUSTER, replace=False)
        sample = vectors[np.sort(chosen)]
    centres = _first_centres(sample, wanted, chooser)
    for _ in range(_ITERATIONS):
        of, _ = _assigned(sample, centres)
        moved = _moved(sample, of, centres)
        if np.array_equal(moved, centres):
            break
        centres = moved
    return Clusters(*_assigned(vectors, centres), wanted)


def _first_centres(
    vectors: NDArray[np.float32], count: int, chooser: np.random.Generator
) -> NDArray[np.float32]:
    """Draw centres far from each other (k-means++): with the chance of 1 - cosine to the nearest."""
    rows = [int(chooser.integers(len(vectors)))]
    distance = np.full(len(vectors), np.inf)
    while len(rows) < count:
        distance = np.minimum(distance, 1 - vectors @ vectors[rows[-1]]).clip(0)
        distance[rows[-1]] = 0
        total = distance.sum()
        if total <= 0:  # only copies of the centres are left
            break
        rows.append(int(chooser.choice(len(vectors), p=distance / total)))
    return vectors[rows]


def _assigned(
    vectors: NDArray[np.float32], centres: NDArray[np.float32]
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    of = np.empty(len(vectors), np.int64)
    cosine = np.empty(len(vectors), np.float32)
    for start in range(0, len(vectors), _ROWS_PER_STEP):
        step = slice(start, start + _ROWS_PER_STEP)
        cosines = vectors[step] @ centres.T
        of[step], cosine[step] = cosines.argmax(axis=1), cosines.max(axis=1)
    return of, cosine


def _moved(
    vectors: NDArray[np.float32], of: NDArray[np.int64], centres: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Return the unit mean of each cluster; an empty one stays where it is."""
    sums = np.zeros_like(centres)
    np.add.at(sums, of, vectors)
    lengths = np.linalg.norm(sums, axis=1, keepdims=True)
    return np.where(lengths > 0, sums / np.where(lengths > 0, lengths, 1), centres)
