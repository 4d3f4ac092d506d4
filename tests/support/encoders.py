"""An encoder without a model, for tests of what is built on one."""

from __future__ import annotations

import zlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


class BagOfWordsEncoder:
    """Adds up one fixed random vector a word, so that texts with common words are similar."""

    may_batch = True

    def __init__(self, name: str = "words-1", dimensions: int = 64) -> None:
        self.name = name
        self.dimensions = dimensions
        self.calls: list[list[str]] = []

    def encode(
        self, texts: Sequence[str], *, max_tokens: int = 32, batch_size: int = 32
    ) -> NDArray[np.float32]:
        self.calls.append(list(texts))
        return self.forward(self.tokens(texts, max_tokens=max_tokens))

    def tokens(self, texts: Sequence[str], *, max_tokens: int = 32) -> list[list[int]]:
        """One a word."""
        return [
            [zlib.crc32(word.encode()) for word in text.lower().split()[:max_tokens] or [text]]
            for text in texts  # a control character is a word too
        ]

    def forward(self, rows: Sequence[Sequence[int]]) -> NDArray[np.float32]:
        vectors = np.empty((len(rows), self.dimensions), dtype=np.float32)
        for place, row in enumerate(rows):
            summed = sum(self._word(token) for token in row)
            vectors[place] = summed / np.linalg.norm(summed)
        return vectors

    def _word(self, token: int) -> NDArray[np.float64]:
        return np.random.default_rng(token).standard_normal(self.dimensions)
