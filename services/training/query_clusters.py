"""Queries that mean about the same, by k-means over their embeddings."""

from __future__ import annotations

import math
from dataclasses import dataclass

import faiss
import numpy as np
from numpy.typing import NDArray

_ITERATIONS = 25
_POINTS_PER_CLUSTER = 1_000
"""So many vectors a cluster are sampled at most to move its centre; all of them are assigned."""


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
    """Part vectors by spherical k-means; the same vectors and seed give the same clusters.

    Args:
        vectors: (vectors, dimensions) float32 unit vectors; may be none.
        count: how many clusters, at most one a vector; the square root of the vectors if absent.
        seed: of the first centres.
    """
    if not len(vectors):
        return Clusters(np.empty(0, np.int64), np.empty(0, np.float32), 0)
    wanted = round(math.sqrt(len(vectors))) if count is None else count
    wanted = min(max(wanted, 1), len(vectors))
    kmeans = faiss.Kmeans(
        vectors.shape[1],
        wanted,
        niter=_ITERATIONS,
        seed=seed,
        spherical=True,
        min_points_per_centroid=1,  # small logs have few queries a cluster; faiss would warn
        max_points_per_centroid=_POINTS_PER_CLUSTER,
    )
    kmeans.train(np.ascontiguousarray(vectors))
    cosine, nearest = kmeans.index.search(np.ascontiguousarray(vectors), 1)
    return Clusters(nearest[:, 0].astype(np.int64), cosine[:, 0], wanted)
