"""Server-sent events that tell open pages to bring themselves up to date; no figure is in them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable

from shared.errors import Unavailable

_LOOK_SECONDS = 0.5


class Streams:
    """Counts the open streams, and opens no more than there is room for.

    Args:
        most: at the same time.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self.open = 0

    def enter(self) -> None:
        """Count one more; `Unavailable` without room."""
        if self.open >= self._most:
            raise Unavailable(f"{self._most} pages are kept up to date already")
        self.open += 1

    def leave(self) -> None:
        """Count one less."""
        self.open -= 1


async def ticks(pause_seconds: float, is_stopping: Callable[[], bool]) -> AsyncIterator[str]:
    """Yield an event after each pause until the process stops; the reader comes back after as long."""
    loop = asyncio.get_running_loop()
    yield f"retry: {round(pause_seconds * 1000)}\n\n"
    while True:
        due = loop.time() + pause_seconds
        while (left := due - loop.time()) > 0:
            if is_stopping():
                return
            await asyncio.sleep(min(left, _LOOK_SECONDS))
        yield "event: changed\ndata:\n\n"
