"""The one thing a service answers with, loaded whole and replaced whole while requests run."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Generic, TypeVar

import structlog

from shared.errors import SkimError, Starting, Unavailable

_Thing = TypeVar("_Thing")
_log = structlog.get_logger()


class Served(Generic[_Thing]):
    """Holds what is served now. A request takes `current` once and keeps it to its end.

    Args:
        load: opens, verifies and warms what is on disk; runs in a thread.
    """

    def __init__(self, load: Callable[[], _Thing]) -> None:
        self._load = load
        self._current: _Thing | None = None
        self._reason = "still loading"
        self._error: type[Unavailable] = Starting
        self._switching = asyncio.Lock()

    def current(self) -> _Thing:
        """Return what is served.

        Raises:
            Starting: the first load is not over.
            Unavailable: nothing could be loaded so far; the message says why.
        """
        if self._current is None:
            raise self._error(self._reason)
        return self._current

    def peek(self) -> _Thing | None:
        """Return what is served, None if nothing is."""
        return self._current

    async def start(self) -> None:
        """Load for the first time; on an error the service starts without, and `current` says why."""
        try:
            await self.reload()
        except SkimError as error:
            _log.warning("started_with_nothing_to_serve", reason=str(error))

    async def reload(self) -> _Thing:
        """Load what is on disk and serve it; on any error what is served stays and the caller hears."""
        async with self._switching:
            try:
                self._current = await asyncio.to_thread(self._load)
            except SkimError as error:
                self._reason, self._error = str(error), Unavailable
                raise
            return self._current
