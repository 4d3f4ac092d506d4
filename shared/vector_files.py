"""The ads' vectors as a file: written by training, read by inference."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from shared.errors import Damaged, NotFound

VECTORS = "vectors.npy"

Vectors = NDArray[np.float32]


def write_vectors(folder: Path, vectors: Vectors) -> None:
    """Write `vectors.npy` into `folder`, on disk when this returns."""
    with (folder / VECTORS).open("wb") as file:
        np.save(file, vectors, allow_pickle=False)
        file.flush()
        os.fsync(file.fileno())


def read_vectors(folder: Path) -> Vectors:
    """Return the (ads, dimensions) float32 vectors in `folder`.

    Raises:
        NotFound: there is no such file.
        Damaged: it is not a two-dimensional float32 array of finite numbers.
    """
    path = folder / VECTORS
    try:
        with path.open("rb") as file:
            vectors = np.load(file, allow_pickle=False)
    except FileNotFoundError as error:
        raise NotFound(f"{path}: no ad vectors here") from error
    except (ValueError, EOFError) as error:
        raise Damaged(f"{path}: not a numpy array of numbers ({error})") from error
    reason = fault_of(vectors) if isinstance(vectors, np.ndarray) else "an archive, not one array"
    if reason is not None:
        raise Damaged(f"{path}: {reason}")
    checked: Vectors = vectors
    return checked


def fault_of(vectors: NDArray[np.generic]) -> str | None:
    """Say what keeps an array from being ad vectors; None if nothing does."""
    if vectors.dtype != np.float32:
        return f"type {vectors.dtype}, expected float32"
    if vectors.ndim != 2 or 0 in vectors.shape:
        return f"shape {vectors.shape}, expected (ads, dimensions), neither of them 0"
    if not np.isfinite(vectors).all():
        return "NaN or infinity among the numbers"
    return None
