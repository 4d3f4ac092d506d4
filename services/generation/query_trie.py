"""Train queries as paths of tokens: what a search for them may follow."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

MAX_TOKENS = 16
_NONE = -1
_AT_ONCE = 10_000
"""Texts encoded together: an encoding is large."""


@dataclass(frozen=True)
class Node:
    """The queries that begin with the same `depth` tokens: those from `first` up to `end`, as sorted."""

    first: int
    end: int
    depth: int


class QueryTrie:
    """Distinct texts sorted by their tokens: what begins alike lies side by side, so that a node is a range.

    A million queries take 70 MB beside their texts, and three times as much while they are sorted.

    Args:
        texts: train queries; those of no token or of more than 16 are left out.
        encode: turns texts into the ids that each has as a line.
    """

    def __init__(
        self, texts: Sequence[str], encode: Callable[[Sequence[str]], Sequence[Sequence[int]]]
    ) -> None:
        tokens = np.full((len(texts), MAX_TOKENS + 1), _NONE, dtype=np.int32)
        fits = np.zeros(len(texts), dtype=np.bool_)
        for start in range(0, len(texts), _AT_ONCE):
            for row, path in enumerate(encode(texts[start : start + _AT_ONCE]), start):
                if 0 < len(path) <= MAX_TOKENS:
                    tokens[row, : len(path)] = path
                    fits[row] = True
        self.left_out = len(texts) - int(fits.sum())
        """How many texts were of no token, or of too many."""
        order = np.lexsort(tokens.T[::-1])
        order = order[fits[order]]
        is_new = np.ones(len(order), dtype=np.bool_)
        is_new[1:] = (tokens[order[1:]] != tokens[order[:-1]]).any(axis=1)
        order = order[is_new]
        self._texts = [texts[row] for row in order.tolist()]
        self._tokens = tokens[order]
        self.root = Node(0, len(order), 0)
        self._below_root = self._below(self.root)

    def __len__(self) -> int:
        return len(self._texts)

    def text_at(self, node: Node) -> str | None:
        """Return the query that ends with a node's tokens, None if none does."""
        ends = self._tokens[node.first, node.depth] == _NONE
        return self._texts[node.first] if ends else None

    def children(self, node: Node, tokens: NDArray[np.int64]) -> list[tuple[int, Node]]:
        """Return those of the tokens that a query goes on with, as (place in `tokens`, node)."""
        known, starts, ends = self._below_root if node is self.root else self._below(node)
        if not len(known):
            return []
        places = np.searchsorted(known, tokens).clip(max=len(known) - 1)
        return [
            (number, Node(int(starts[place]), int(ends[place]), node.depth + 1))
            for number, place in enumerate(places)
            if known[place] == tokens[number]
        ]

    def _below(self, node: Node) -> tuple[NDArray[np.int32], NDArray[np.int64], NDArray[np.int64]]:
        """Return the tokens that follow a node's, ascending, and the range of the queries of each."""
        column = self._tokens[node.first : node.end, node.depth]
        starts = np.flatnonzero(np.diff(column, prepend=_NONE))
        ends = np.append(starts[1:], len(column))
        return column[starts], node.first + starts, node.first + ends
