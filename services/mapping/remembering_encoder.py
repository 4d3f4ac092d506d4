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
        self, texts: Sequence[str], *, max_tokens: int = 32, batch_size: int = 32
    ) -> NDArray[np.float32]:
        """Return (texts, dimensions) float32 unit vectors, in the order given."""
        vectors = np.empty((len(texts), self.dimensions), dtype=np.float32)
        rows_of: dict[str, list[int]] = {}
        with self._lock:
            for row, text in enumerate(texts):
                known = self._known.get((text, max_tokens))
                if known is None:
                    rows_of.setdefault(text, []).append(row)
                else:
                    self._known.move_to_end((text, max_tokens))
                    vectors[row] = known
        if not rows_of:
            return vectors
        fresh = self._encoder.encode(list(rows_of), max_tokens=max_tokens, batch_size=batch_size)
        for rows, vector in zip(rows_of.values(), fresh, strict=True):
            vectors[rows] = vector
        with self._lock:
            for text, vector in zip(rows_of, fresh, strict=True):
                self._known[text, max_tokens] = vector.copy()
            while len(self._known) > self._size:
                self._known.popitem(last=False)
        return vectors
