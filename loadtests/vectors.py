"""Unit vectors with the structure of real ones: clusters, or real ones and what lies between them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def interpolated(real: NDArray[np.float32], count: int, *, seed: int = 0) -> NDArray[np.float32]:
    """Return (count, dimensions) unit vectors as real ones lie: each a real one moved along a difference of two others.

    Args:
        real: (any number, dimensions) unit vectors; the first rows of the answer are these.
        count: rows.
        seed: of the choices.
    """
    random = np.random.default_rng(seed)
    one, two, three = random.integers(len(real), size=(3, max(0, count - len(real))))
    moved = real[one] + 0.5 * (real[two] - real[three])
    moved /= np.linalg.norm(moved, axis=1, keepdims=True)
    vectors: NDArray[np.float32] = np.concatenate([real[:count], moved]).astype(np.float32)
    return vectors


def clustered(
    count: int,
    dimensions: int,
    *,
    clusters: int = 10,
    noise: float = 0.6,
    seed: int = 0,
    centres_seed: int | None = None,
) -> NDArray[np.float32]:
    """Return (count, dimensions) unit vectors around `clusters` centres.

    Args:
        count: rows.
        dimensions: columns.
        clusters: how many centres.
        noise: length of the noise added to a centre of length 1.
        seed: of centres and noise.
        centres_seed: of the centres, to draw other vectors around the same ones.
    """
    random = np.random.default_rng(seed)
    centres = np.random.default_rng(seed if centres_seed is None else centres_seed)
    vectors = centres.standard_normal((clusters, dimensions))[
        random.integers(clusters, size=count)
    ]
    vectors += noise * random.standard_normal((count, dimensions))
    unit: NDArray[np.float32] = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(
        np.float32
    )
    return unit
