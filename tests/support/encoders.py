"""An encoder without a model, for tests of what is built on one."""

from __future__ import annotations

import zlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


class BagOfWordsEncoder:
    """Adds up one fixed random vector a word, so that texts with common words are similar."""

    def __init__(self, name: str = "words-1", dimensions: int = 64) -> None:
        self.name = name
        self.dimensions = dimensions
        self.calls: list[list[str]] = []

    def encode(
        self, texts: Sequence[str], *, max_tokens: int = 32, batch_size: int = 32
    ) -> NDArray[np.float32]:
        self.calls.append(list(texts))
        vectors = np.empty((len(texts), self.dimensions), dtype=np.float32)
        for row, text in enumerate(texts):
            words = text.lower().split()[:max_tokens] or [
                text
            ]  # a control character is a word too
            summed = sum(self._word(word) for word in words)
            vectors[row] = summed / np.linalg.norm(summed)
        return vectors

    def _word(self, word: str) -> NDArray[np.float64]:
        return np.random.default_rng(zlib.crc32(word.encode())).standard_normal(self.dimensions)
