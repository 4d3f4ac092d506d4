"""Past a size, a batch learns from a shortlist of the documents instead of all of them.

The shortlist is what is near its queries (faiss) and labelled, and random ones beside these. Rows that
a step leaves out are not touched; what momentum and pull would have done to them is made up for when
their turn comes.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray

_ROWS_PER_CENTRE = 40
"""Vectors that train a centre of the coarse index; faiss asks for 39."""


class NearestDocuments:
    """Finds documents by inner product, approximately: a coarse index over vectors as they are now.

    Args:
        vectors: (documents, dimensions) float32; the index holds a copy.
    """

    def __init__(self, vectors: NDArray[np.float32]) -> None:
        import faiss  # not where a GPU is borrowed: nothing is shortlisted there

        documents, dimensions = vectors.shape
        centres = max(1, min(round(4 * math.sqrt(documents)), documents // _ROWS_PER_CENTRE))
        self._coarse = faiss.IndexFlatIP(dimensions)  # the index only points to it
        self._index = faiss.IndexIVFFlat(
            self._coarse, dimensions, centres, faiss.METRIC_INNER_PRODUCT
        )
        self._index.nprobe = max(1, centres // 16)
        contiguous = np.ascontiguousarray(vectors)
        self._index.train(contiguous)
        self._index.add(contiguous)

    def of(self, queries: NDArray[np.float32], k: int) -> NDArray[np.int64]:
        """Return the positions near any of (queries, dimensions) float32, ascending, each once."""
        _, found = self._index.search(np.ascontiguousarray(queries), k)
        nearest: NDArray[np.int64] = np.unique(found)
        return nearest[nearest >= 0]  # -1 fills the row where fewer than k were found


def draw_shortlist(
    near: NDArray[np.int64], documents: int, random_documents: int, random: np.random.Generator
) -> NDArray[np.int64]:
    """Return `near` and random positions, ascending, each once.

    A random document counts once, not for all those left out: with such weights the expected gradient
    is that of the whole loss, but momentum carries each rare, large push far past its aim.

    Args:
        near: positions.
        documents: how many there are.
        random_documents: how many to draw; all are taken if there are no more.
        random: drawn from.
    """
    if documents <= random_documents:
        return np.arange(documents)
    return np.union1d(near, random.integers(documents, size=random_documents))


class SparseMomentum:
    """SGD with momentum and a pull towards the start, of which a step touches few rows.

    A row that was left out has had a gradient of zero: its velocity fades, moves it on meanwhile, and
    the pull brings it back, in closed form at the step's learning rate (to first order in the pull).

    Args:
        initial: (rows, dimensions) float32 to start from and to be pulled to; not written to.
        momentum: share of the velocity that a step keeps.
        pull: strength of the pull.
    """

    def __init__(self, initial: torch.Tensor, *, momentum: float, pull: float) -> None:
        self.vectors = initial.clone()
        self.velocity = torch.zeros_like(initial)
        self._initial, self._momentum, self._pull = initial, momentum, pull
        self._last = torch.zeros(len(initial), dtype=torch.int64)
        """Steps up to which a row is up to date."""

    def restore(self, vectors: torch.Tensor, velocity: torch.Tensor, steps: int) -> None:
        """Go on from rows that all are up to date with `steps` steps."""
        self.vectors, self.velocity = vectors, velocity
        self._last.fill_(steps)

    def catch_up(self, rows: torch.Tensor, steps: int, rate: float) -> None:
        """Bring rows to where `steps` steps have left them."""
        idle = (steps - self._last[rows]).to(torch.float32).unsqueeze(1)
        kept = self._momentum**idle
        reach = self._momentum * (1 - kept) / (1 - self._momentum)
        vectors = self.vectors[rows] - rate * reach * self.velocity[rows]
        shrunk = torch.exp(-rate * self._pull * idle / (1 - self._momentum))
        self.vectors[rows] = torch.lerp(self._initial[rows], vectors, shrunk)
        self.velocity[rows] *= kept
        self._last[rows] = steps

    def step(self, rows: torch.Tensor, gradient: torch.Tensor, rate: float) -> None:
        """Take one step of rows that are up to date with all steps before it."""
        velocity = self._momentum * self.velocity[rows] + gradient
        velocity += self._pull * (self.vectors[rows] - self._initial[rows])
        self.velocity[rows] = velocity
        self.vectors[rows] -= rate * velocity
        self._last[rows] += 1
