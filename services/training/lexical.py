"""BM25 over what is known of each document: the rival that needs neither clicks nor a model."""

from __future__ import annotations

from collections.abc import Sequence

import bm25s
import numpy as np
from numpy.typing import NDArray


class Bm25:
    """Finds documents by words in common (Robertson and Zaragoza 2009; Lucene's form, k1 1.5, b .75).

    Args:
        texts: one a document.
    """

    def __init__(self, texts: Sequence[str]) -> None:
        self._documents = len(texts)
        self._index = bm25s.BM25()
        self._index.index(_words(texts), show_progress=False)
        self._known = set(self._index.vocab_dict)

    def search(self, queries: Sequence[str], k: int) -> NDArray[np.int64]:
        """Return document positions, (queries, min(k, documents)), best first; equals by position."""
        k = min(k, self._documents)
        ranked = np.empty((len(queries), k), dtype=np.int64)
        for row, words in enumerate(_words(queries)):
            known = [word for word in words if word in self._known]
            scores = self._index.get_scores(known) if known else np.zeros(self._documents)
            ranked[row] = np.argsort(-scores, kind="stable")[:k]
        return ranked


def _words(texts: Sequence[str]) -> list[list[str]]:
    words: list[list[str]] = bm25s.tokenize(list(texts), return_ids=False, show_progress=False)
    return words
