"""What arms found, kept under the hash of all that went in, so that a killed evaluation goes on arm by arm."""

from __future__ import annotations

import os
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Ranking:
    """An arm's answers."""

    documents: NDArray[np.int64]
    """(queries, ranks) positions, best first."""
    mixing_weight: float
    """Share of the trained classifiers that the guard let through; 0 is zero-shot."""
    seconds: float
    """That training and ranking took when they were done."""
    choice: str = ""
    """Of the ways to train that were tried; empty where none was."""


class ArmCache:
    """Rankings in a folder, a file each.

    Args:
        folder: created on demand; None keeps nothing.
        is_fresh: whether what is there already is ignored.
    """

    def __init__(self, folder: Path | None = None, *, is_fresh: bool = False) -> None:
        self._folder = folder
        self._is_fresh = is_fresh

    def get(self, key: str) -> Ranking | None:
        """Return the ranking, or None if there is none that can be read."""
        if self._folder is None or self._is_fresh:
            return None
        try:
            with (
                (self._folder / f"{key}.npz").open("rb") as file,
                np.load(file, allow_pickle=False) as kept,
            ):
                return Ranking(
                    kept["documents"].astype(np.int64),
                    float(kept["mixing_weight"]),
                    float(kept["seconds"]),
                    str(kept["choice"]) if "choice" in kept else "",
                )
        except (FileNotFoundError, ValueError, EOFError, KeyError, zipfile.BadZipFile):
            return None  # a damaged file is as good as none: the arm is trained again

    def put(self, key: str, ranking: Ranking) -> None:
        """Keep a ranking, whole or not at all."""
        if self._folder is None:
            return
        self._folder.mkdir(parents=True, exist_ok=True)
        temporary = self._folder / f".{key}.{os.getpid()}"
        try:
            with temporary.open("wb") as file:
                np.savez_compressed(
                    file,
                    documents=ranking.documents.astype(np.int32),
                    mixing_weight=np.float64(ranking.mixing_weight),
                    seconds=np.float64(ranking.seconds),
                    choice=np.str_(ranking.choice),
                )
            temporary.replace(self._folder / f"{key}.npz")
        finally:
            temporary.unlink(missing_ok=True)
