"""Answers of one state of the ads, as bytes. Used from one event loop."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable

from services.inference.view import View

_ENTRY_BYTES = 400
"""Of an entry beside its answer."""


class AnswerCache:
    """Keeps the answers used last. One of another state of the ads is never given, and dropped at once.

    Args:
        max_bytes: of all answers; 0 keeps none.
    """

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._answers: OrderedDict[Hashable, bytes] = OrderedDict()
        self._bytes = 0
        self._of = (-1, 0)
        """Of the generation and the version of the ads; not the generation, which is to be freed elsewhere."""

    def get(self, view: View, key: Hashable) -> bytes | None:
        """Return the answer to what `key` asks of this view, None if it is not kept."""
        if not self._is_of(view):
            self._answers, self._bytes = OrderedDict(), 0
            self._of = (view.generation.serial, view.version)
        answer = self._answers.get(key)
        if answer is not None:
            self._answers.move_to_end(key)
        return answer

    def put(self, view: View, key: Hashable, answer: bytes) -> None:
        """Keep an answer, unless the ads have changed meanwhile."""
        size = len(answer) + _ENTRY_BYTES
        if not self._is_of(view) or key in self._answers or size > self._max_bytes:
            return
        self._answers[key] = answer
        self._bytes += size
        while self._bytes > self._max_bytes:
            _, dropped = self._answers.popitem(last=False)
            self._bytes -= len(dropped) + _ENTRY_BYTES

    def _is_of(self, view: View) -> bool:
        return self._of == (view.generation.serial, view.version)
