"""Room for a number of things at a time, and no more."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from shared.errors import Unavailable


class Seats:
    """Counts who is there, and lets in no more than there is room for. Used from the event loop only.

    Args:
        most: at a time.
        what: they are, for the message that refuses one.
    """

    def __init__(self, most: int, what: str) -> None:
        self._most = most
        self._what = what
        self._taken = 0

    def take(self) -> None:
        """Count one more; `Unavailable` without room."""
        if self._taken >= self._most:
            raise Unavailable(f"there are {self._most} {self._what} already, more are not taken")
        self._taken += 1

    def leave(self) -> None:
        """Count one less."""
        self._taken -= 1

    @contextmanager
    def taken(self) -> Iterator[None]:
        """Hold a seat while the body works."""
        self.take()
        try:
            yield
        finally:
            self.leave()
