"""A thread pool with a bounded queue: work for the processor, kept off the event loop."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from typing import ParamSpec, TypeVar

from shared.errors import Unavailable

_Arguments = ParamSpec("_Arguments")
_Result = TypeVar("_Result")


class BoundedPool:
    """Runs functions in threads and refuses when too many wait. Used from one event loop.

    Args:
        threads: how many run at once; one a core if absent.
        max_waiting: how many more may wait for a thread.
        initializer: what each thread does first.
    """

    def __init__(
        self,
        *,
        threads: int | None = None,
        max_waiting: int,
        initializer: Callable[[], None] | None = None,
    ) -> None:
        threads = threads or os.cpu_count() or 1
        self._executor = ThreadPoolExecutor(threads, initializer=initializer)
        self._limit = threads + max_waiting
        self._max_waiting = max_waiting
        self._taken = 0

    async def run(
        self,
        function: Callable[_Arguments, _Result],
        *args: _Arguments.args,
        **kwargs: _Arguments.kwargs,
    ) -> _Result:
        """Return what `function` returns.

        Raises:
            Unavailable: `max_waiting` others wait already.
        """
        if self._taken >= self._limit:
            raise Unavailable(
                f"the server is full: {self._max_waiting} requests wait already",
                retry_after_seconds=1,
            )
        self._taken += 1
        context = copy_context()  # request id and trace of who asks
        try:
            return await asyncio.get_running_loop().run_in_executor(
                self._executor, lambda: context.run(function, *args, **kwargs)
            )
        finally:
            self._taken -= 1

    def close(self) -> None:
        """Finish what runs and drop what waits."""
        self._executor.shutdown(cancel_futures=True)
