"""An encoder that knows the texts it was asked last: mapping anew costs a search, not an encoding."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Sequence
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from shared.encoder import TextEncoder

Vector = NDArray[np.float32]


class RememberingEncoder:
    """Encodes text by text, each once. Safe to call from several threads.

    Args:
        encoder: does the work.
        size: texts that are remembered; the one not asked for longest is forgotten first.
    """

    def __init__(self, encoder: TextEncoder, size: int) -> None:
        self._encoder, self._size = encoder, size
        self._known: OrderedDict[tuple[str, int], Vector] = OrderedDict()
        self._lock = threading.Lock()

    @property
    def name(self) -> str:
        """Return the encoder's name."""
        return self._encoder.name

    @property
    def dimensions(self) -> int:
        """Return the length of the vectors."""
        return self._encoder.dimensions

    def latest(self, size: int, *, max_tokens: int = 32) -> NDArray[np.float32]:
        """Return (at most `size`, dimensions) vectors of the texts of that length that were asked for last."""
        with self._lock:
            of_length = (
                vector
                for (_, length), vector in reversed(self._known.items())
                if length == max_tokens
            )
            vectors = list(islice(of_length, size))
        return np.stack(vectors) if vectors else np.empty((0, self.dimensions), dtype=np.float32)

    def encode(
        self, texts: Sequence[str], *, max_tokens: int = 32, batch_size: int = 1
    ) -> NDArray[np.float32]:
        """Return (texts, dimensions) float32 unit vectors; a text's never depends on its company."""
        vectors = np.empty((len(texts), self.dimensions), dtype=np.float32)
        for row, text in enumerate(texts):
            vectors[row] = self._vector(text, max_tokens)
        return vectors

    def _vector(self, text: str, max_tokens: int) -> Vector:
        key = (text, max_tokens)
        with self._lock:
            if (known := self._known.get(key)) is not None:
                self._known.move_to_end(key)
                return known
        vector: Vector = self._encoder.encode([text], max_tokens=max_tokens, batch_size=1)[0]
        with self._lock:
            self._known[key] = vector
            while len(self._known) > self._size:
                self._known.popitem(last=False)
        return vector
