"""A decoder without a model: what a row writes next depends on every token it holds, so mix-ups show."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from services.generation.sampling import Candidates

VOCABULARY = 40
END = 0


def next_token(held: Sequence[int]) -> int:
    """Return what a row that holds these tokens writes next."""
    state = 7
    for token in held:
        state = (state * 31 + token + 1) % 1_000_003
    return state % VOCABULARY


def written_alone(prompt: Sequence[int], limit: int) -> list[int]:
    """Return what the fake writes behind a prompt, computed without any decoder."""
    held = list(prompt)
    while len(held) < len(prompt) + limit and (token := next_token(held)) != END:
        held.append(token)
    return held[len(prompt) :]


class FakeDecoder:
    """Holds the tokens of each row in lists.

    Args:
        rows: the reading row included.
        capacity: tokens a row can hold.
    """

    def __init__(self, rows: int, capacity: int = 64) -> None:
        self.rows = rows
        self.capacity = capacity
        self.held: list[list[int]] = [[] for _ in range(rows)]
        self.calls: list[tuple[str, int]] = []
        """What was called, with its tokens: prompts' lengths with padding, or rows."""
        self.failures: list[Exception] = []
        """Raised by the next calls, one each."""

    def prefill(self, first: int, prompts: Sequence[Sequence[int]]) -> Candidates:
        self._called("prefill", max(map(len, prompts)) * len(prompts))
        assert first + len(prompts) < self.rows, "the reading row is not for whole prompts"
        for row, prompt in enumerate(prompts, first):
            self.held[row] = list(prompt)
        return self._candidates(range(first, first + len(prompts)))

    def extend(self, row: int, held: int, ids: Sequence[int]) -> Candidates:
        self._called("extend", len(ids))
        assert len(self.held[row]) >= held
        self.held[row] = [*self.held[row][:held], *ids]
        return self._candidates([row])

    def decode(self, tokens: NDArray[np.int64], held: NDArray[np.int64]) -> Candidates:
        self._called("decode", len(tokens))
        assert len(tokens) < self.rows
        for row, (token, length) in enumerate(zip(tokens, held, strict=True)):
            assert len(self.held[row]) >= length
            self.held[row] = [*self.held[row][:length], int(token)]
        return self._candidates(range(len(tokens)))

    def copy_row(self, source: int, target: int, length: int) -> None:
        assert len(self.held[source]) >= length
        self.held[target] = self.held[source][:length]

    def _called(self, name: str, tokens: int) -> None:
        self.calls.append((name, tokens))
        if self.failures:
            raise self.failures.pop(0)

    def _candidates(self, rows: Sequence[int]) -> Candidates:
        logits = np.zeros((len(rows), VOCABULARY), dtype=np.float32)
        for place, row in enumerate(rows):
            assert len(self.held[row]) <= self.capacity
            logits[place, next_token(self.held[row])] = 9.0
        return Candidates(logits)
