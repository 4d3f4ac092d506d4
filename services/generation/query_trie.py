"""Train queries as paths of tokens: what a search for them may follow."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

MAX_TOKENS = 16
_NONE = -1


@dataclass(frozen=True)
class Node:
    """The queries that begin with the same `depth` tokens: those from `first` up to `end`, as sorted."""

    first: int
    end: int
    depth: int


class QueryTrie:
    """Distinct texts sorted by their tokens: what begins alike lies side by side, so that a node is a range.

    A million queries take 70 MB beside their texts.

    Args:
        texts: train queries; those of more than 16 tokens are left out.
        encode: turns texts into the ids that each has as a line.
    """

    def __init__(
        self, texts: Sequence[str], encode: Callable[[Sequence[str]], Sequence[Sequence[int]]]
    ) -> None:
        paths = dict(zip(map(tuple, encode(texts)), texts, strict=True))
        kept = sorted(path for path in paths if 0 < len(path) <= MAX_TOKENS)
        self._texts = [paths[path] for path in kept]
        self._tokens = np.full((len(kept), MAX_TOKENS + 1), _NONE, dtype=np.int32)
        for row, path in zip(self._tokens, kept, strict=True):
            row[: len(path)] = path
        self.root = Node(0, len(kept), 0)
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
