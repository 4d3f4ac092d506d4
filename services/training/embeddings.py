"""Sentence embeddings that are computed once: kept in memory, and on disk where a folder is given."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Progress = Callable[[int, int], None]
"""Called with (texts done, texts in all)."""
_TEXTS_PER_STEP = 512


class Encoder(Protocol):
    """What training needs of `shared.encoder.SentenceEncoder`."""

    @property
    def name(self) -> str:
        """Return the encoder's id with the first digits of its sha256."""

    @property
    def dimensions(self) -> int:
        """Return the length of the vectors."""

    def encode(self, texts: Sequence[str], *, max_tokens: int) -> NDArray[np.float32]:
        """Return (texts, dimensions) float32 unit vectors, in the order given."""


class CachedEncoder:
    """An encoder that remembers each text it has encoded.

    Args:
        encoder: does the work.
        folder: keeps the vectors between runs, a file for each list of texts that was new.
    """

    def __init__(self, encoder: Encoder, folder: Path | None = None) -> None:
        self._encoder = encoder
        self._folder = folder
        self._known: dict[tuple[str, int], NDArray[np.float32]] = {}

    @property
    def name(self) -> str:
        """Return the name of the encoder that does the work."""
        return self._encoder.name

    @property
    def dimensions(self) -> int:
        """Return the length of the vectors."""
        return self._encoder.dimensions

    def encode(
        self, texts: Sequence[str], *, max_tokens: int, progress: Progress | None = None
    ) -> NDArray[np.float32]:
        """Return (texts, dimensions) float32 unit vectors, in the order given."""
        new = [text for text in dict.fromkeys(texts) if (text, max_tokens) not in self._known]
        if new:
            key = self._key(new, max_tokens)
            vectors = self._read(key, len(new))
            if vectors is None:
                vectors = self._compute(new, max_tokens, progress)
                self._write(key, vectors)
            self._known.update(
                ((text, max_tokens), vector) for text, vector in zip(new, vectors, strict=True)
            )
        found = np.empty((len(texts), self.dimensions), dtype=np.float32)
        for row, text in enumerate(texts):
            found[row] = self._known[text, max_tokens]
        return found

    def _compute(
        self, texts: Sequence[str], max_tokens: int, progress: Progress | None
    ) -> NDArray[np.float32]:
        vectors = np.empty((len(texts), self.dimensions), dtype=np.float32)
        for start in range(0, len(texts), _TEXTS_PER_STEP):
            step = texts[start : start + _TEXTS_PER_STEP]
            vectors[start : start + len(step)] = self._encoder.encode(step, max_tokens=max_tokens)
            if progress is not None:
                progress(start + len(step), len(texts))
        return vectors

    def _key(self, texts: Sequence[str], max_tokens: int) -> str:
        digest = hashlib.sha256(f"{self.name}\n{max_tokens}".encode())
        for text in texts:
            encoded = text.encode()
            digest.update(b"\n%d:" % len(encoded) + encoded)
        return digest.hexdigest()

    def _read(self, key: str, texts: int) -> NDArray[np.float32] | None:
        if self._folder is None:
            return None
        try:
            vectors = np.load(self._folder / f"{key}.npy", allow_pickle=False)
        except (FileNotFoundError, ValueError, EOFError):
            return None  # a cut file is as good as none: the vectors are computed again
        usable = vectors.shape == (texts, self.dimensions) and vectors.dtype == np.float32
        return vectors if usable else None

    def _write(self, key: str, vectors: NDArray[np.float32]) -> None:
        if self._folder is None:
            return
        self._folder.mkdir(parents=True, exist_ok=True)
        temporary = self._folder / f".{key}.{os.getpid()}"
        try:
            with temporary.open("wb") as file:
                np.save(file, vectors, allow_pickle=False)
            temporary.replace(self._folder / f"{key}.npy")
        finally:
            temporary.unlink(missing_ok=True)
