"""Who is worked on, who waits, and who is told at once that the wait would be too long. Used from one event loop.

A thread pool works on as many as there are threads. The rest wait here, in order, and not in the pool: who leaves while
waiting costs nothing, and who cannot be answered by the deadline, by the service time measured of late, is refused
before any work is done for them.
"""

from __future__ import annotations

import asyncio
import math
import os
import time
from collections import deque
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import ParamSpec, TypeVar

from shared.errors import Unavailable

_Arguments = ParamSpec("_Arguments")
_Result = TypeVar("_Result")
_WEIGHT = 0.05
"""Of the latest service time in the running mean."""
_HOPE = 0.5
"""Share of the deadline that an answer may be expected to take, since what was let in and comes late is lost for both."""
_LONGEST_RETRY_SECONDS = 30


class ClientLeft(Exception):
    """Nobody waits for the answer any more."""


@dataclass(eq=False)
class _Waiter:
    turn: asyncio.Future[None]
    deadline: float


class Admission:
    """Runs functions in threads, each before its deadline or not at all.

    Args:
        threads: how many run at once; one a core if absent.
        max_waiting: how many more may wait, whatever their deadlines.
        clock: seconds that only grow.
    """

    def __init__(
        self,
        *,
        threads: int | None = None,
        max_waiting: int,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._threads = threads or os.cpu_count() or 1
        self._executor = ThreadPoolExecutor(self._threads, thread_name_prefix="answers")
        self._max_waiting, self._clock = max_waiting, clock
        self._waiting: deque[_Waiter] = deque()
        self._running = 0
        self.service_seconds = 0.0
        """Running mean of what one function takes in its thread; 0 before the first."""
        self.pace_seconds = 0.0
        """Running mean of the time from one end to the next while there is a queue, which knows of all that slows the
        process down; 0 before there was one."""
        self._last_end: float | None = None

    @property
    def waiting(self) -> int:
        """Return how many wait for a thread."""
        return len(self._waiting)

    @property
    def wait_seconds(self) -> float:
        """Return how long the next one would wait for a thread, by the pace of late."""
        if self._running < self._threads:
            return 0.0
        pace = max(self.pace_seconds, self.service_seconds / self._threads)
        return (len(self._waiting) + 1) * pace

    async def run(
        self,
        deadline_seconds: float,
        has_left: Callable[[], Awaitable[object]] | None,
        function: Callable[_Arguments, _Result],
        *args: _Arguments.args,
        **kwargs: _Arguments.kwargs,
    ) -> tuple[float, _Result]:
        """Return the seconds waited, and what `function` returns.

        Args:
            deadline_seconds: from now.
            has_left: returns once nobody waits for the answer; asked only while there is a queue.
            function: runs in a thread.
            args: of the function.
            kwargs: of the function.

        Raises:
            Unavailable: too many wait, or the answer would not be there by the deadline.
            ClientLeft: nobody waits for the answer.
        """
        arrived = self._clock()
        self._admit(deadline_seconds)
        if self._running >= self._threads:
            await self._wait(arrived + deadline_seconds, has_left)
        else:
            self._running += 1
        begun = self._clock()
        try:
            result = await asyncio.get_running_loop().run_in_executor(
                self._executor, lambda: function(*args, **kwargs)
            )
            self._learn(begun)
        finally:
            self._running -= 1
            self._call_next()
        return begun - arrived, result

    def close(self) -> None:
        """Finish what runs."""
        self._executor.shutdown(cancel_futures=True)

    def _admit(self, deadline_seconds: float) -> None:
        wait = self.wait_seconds
        is_late = wait > 0 and wait + self.service_seconds > _HOPE * deadline_seconds
        if is_late or (self._running >= self._threads and self.waiting >= self._max_waiting):
            raise Unavailable(
                f"the server is full: {self.waiting} requests wait already, for {wait * 1000:.0f} ms; "
                f"{deadline_seconds * 1000:.0f} ms may be spent",
                retry_after_seconds=min(max(1, math.ceil(wait)), _LONGEST_RETRY_SECONDS),
            )

    async def _wait(
        self, deadline: float, has_left: Callable[[], Awaitable[object]] | None
    ) -> None:
        waiter = _Waiter(asyncio.get_running_loop().create_future(), deadline)
        self._waiting.append(waiter)
        watcher = None if has_left is None else asyncio.ensure_future(_watch(has_left, waiter))
        try:
            await waiter.turn
        except BaseException:
            if waiter in self._waiting:
                self._waiting.remove(waiter)
            elif (
                waiter.turn.done() and not waiter.turn.cancelled() and not waiter.turn.exception()
            ):
                self._running -= 1  # its turn had come
                self._call_next()
            raise
        finally:
            if watcher is not None:
                watcher.cancel()

    def _call_next(self) -> None:
        """Give a free thread to the first that can still be answered in time."""
        while self._waiting and self._running < self._threads:
            waiter = self._waiting.popleft()
            if waiter.turn.done():
                continue
            if self._clock() + self.service_seconds > waiter.deadline:
                waiter.turn.set_exception(
                    Unavailable("the answer would come after its deadline", retry_after_seconds=1)
                )
                continue
            self._running += 1
            waiter.turn.set_result(None)

    def _learn(self, begun: float) -> None:
        now = self._clock()
        self.service_seconds = _mean(self.service_seconds, now - begun)
        if self._last_end is not None:
            self.pace_seconds = _mean(self.pace_seconds, now - self._last_end)
        self._last_end = now if self._waiting else None


def _mean(known: float, latest: float) -> float:
    return known + _WEIGHT * (latest - known) if known else latest


async def _watch(has_left: Callable[[], Awaitable[object]], waiter: _Waiter) -> None:
    await has_left()
    if not waiter.turn.done():
        waiter.turn.set_exception(ClientLeft())
