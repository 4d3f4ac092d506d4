"""Who is worked on, who waits, and who is told at once that the wait would be too long. Used from one event loop.

A few threads take what waits in the order it came, themselves: between two queries there is no hand-over to the event loop.
Who leaves while waiting costs nothing, and who cannot be answered by the deadline, by the service time measured of late, is
refused before any work is done for them.
"""

from __future__ import annotations

import asyncio
import math
import os
import threading
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from queue import Empty, SimpleQueue
from typing import Any, ParamSpec, TypeVar

from shared.errors import Unavailable

_Arguments = ParamSpec("_Arguments")
_Result = TypeVar("_Result")
_WEIGHT = 0.05
"""Of the latest service time in the running mean."""
_HOPE = 0.5
"""Share of the deadline that an answer may be expected to take, since what was let in and comes late is lost for both."""
_LONGEST_RETRY_SECONDS = 30
_WATCH_AFTER_SECONDS = 0.05
"""Who waits no longer is not watched: to watch costs more than it would spare."""


class ClientLeft(Exception):
    """Nobody waits for the answer any more."""


@dataclass(eq=False, slots=True)
class _Job:
    work: Callable[[], Any]
    deadline: float
    waits: bool
    """No thread was free when it came."""
    answer: asyncio.Future[tuple[float, Any]]
    """When it was begun, and what the work returned."""
    claim: threading.Lock = field(default_factory=threading.Lock)
    """Taken once: by the thread that begins, or by the loop, which then knows that none will."""
    watcher: asyncio.Future[None] | None = None


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
        self._max_waiting, self._clock = max_waiting, clock
        self._jobs: SimpleQueue[_Job | None] = SimpleQueue()
        self._unfinished = 0
        self.service_seconds = 0.0
        """Running mean of what one function takes in its thread; 0 before the first."""
        self.pace_seconds = 0.0
        """Running mean of the time from one end to the next while there is a queue, which knows of all that slows the
        process down; 0 before there was one."""
        self._last_end: float | None = None
        self._threads = [
            threading.Thread(target=self._work, name=f"answers_{number}", daemon=True)
            for number in range(threads or os.cpu_count() or 1)
        ]
        for thread in self._threads:
            thread.start()

    @property
    def waiting(self) -> int:
        """Return how many wait for a thread."""
        return max(0, self._unfinished - len(self._threads))

    @property
    def wait_seconds(self) -> float:
        """Return how long the next one would wait for a thread, by the pace of late."""
        threads = len(self._threads)
        if self._unfinished < threads:
            return 0.0
        pace = max(self.pace_seconds, self.service_seconds / threads)
        return (self.waiting + 1) * pace

    def check(self, deadline_seconds: float) -> None:
        """Return if one more may come in.

        Args:
            deadline_seconds: from now.

        Raises:
            Unavailable: too many wait, or the answer would not be there by the deadline.
        """
        wait = self.wait_seconds
        is_late = wait > 0 and wait + self.service_seconds > _HOPE * deadline_seconds
        if is_late or self._unfinished >= len(self._threads) + self._max_waiting:
            raise Unavailable(
                f"the server is full: {self.waiting} requests wait already, for {wait * 1000:.0f} ms; "
                f"{deadline_seconds * 1000:.0f} ms may be spent",
                retry_after_seconds=min(max(1, math.ceil(wait)), _LONGEST_RETRY_SECONDS),
            )

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
            Unavailable: see `check`.
            ClientLeft: nobody waits for the answer.
        """
        arrived = self._clock()
        self.check(deadline_seconds)
        loop = asyncio.get_running_loop()
        job = _Job(
            partial(function, *args, **kwargs),
            arrived + deadline_seconds,
            self._unfinished >= len(self._threads),
            loop.create_future(),
        )
        self._unfinished += 1
        self._jobs.put(job)
        timer = None
        if has_left is not None and job.waits:
            timer = loop.call_later(_WATCH_AFTER_SECONDS, self._watch, job, has_left)
        try:
            begun, result = await job.answer
        except asyncio.CancelledError:
            self._takes_back(job)
            raise
        finally:
            if timer is not None:
                timer.cancel()
            if job.watcher is not None:
                job.watcher.cancel()
        return begun - arrived, result

    def close(self) -> None:
        """Finish what runs; what waits is never begun."""
        with suppress(Empty):
            while job := self._jobs.get_nowait():
                if self._takes_back(job):
                    job.answer.cancel()
        for _ in self._threads:
            self._jobs.put(None)
        for thread in self._threads:
            thread.join()

    def _work(self) -> None:
        while self._work_off(self._jobs.get()):
            pass

    def _work_off(self, job: _Job | None) -> bool:
        """Do one job, in a thread; False says that no more will come. Whoever waits for the next must not hold the last."""
        if job is None:
            return False
        if not job.claim.acquire(blocking=False):
            return True
        begun, result = self._clock(), None
        error: BaseException | None = None
        is_late = job.waits and begun + self.service_seconds > job.deadline
        if is_late:
            error = Unavailable("the answer would come after its deadline", retry_after_seconds=1)
        else:
            try:
                result = job.work()
            except BaseException as raised:  # noqa: BLE001  (whoever waits hears it)
                error = raised
        seconds = None if error else (begun, self._clock())
        with suppress(RuntimeError):  # the loop is closed: nobody waits
            job.answer.get_loop().call_soon_threadsafe(
                self._finish, job, (begun, result), error, seconds
            )
        del job, error  # an error's traceback holds this frame, and would hold what it holds
        return True

    def _finish(
        self,
        job: _Job,
        result: tuple[float, Any],
        error: BaseException | None,
        worked: tuple[float, float] | None,
    ) -> None:
        self._unfinished -= 1
        if worked is not None:
            self._learn(*worked)
        if job.answer.done():  # cancelled
            return
        if error is None:
            job.answer.set_result(result)
        else:
            job.answer.set_exception(error)

    def _watch(self, job: _Job, has_left: Callable[[], Awaitable[object]]) -> None:
        async def _until_left() -> None:
            await has_left()
            if self._takes_back(job) and not job.answer.done():
                job.answer.set_exception(ClientLeft())

        job.watcher = asyncio.ensure_future(_until_left())

    def _takes_back(self, job: _Job) -> bool:
        """Say whether a job was taken back by this call, before a thread began it."""
        is_mine = job.claim.acquire(blocking=False)
        if is_mine:
            self._unfinished -= 1
        return is_mine

    def _learn(self, begun: float, ended: float) -> None:
        self.service_seconds = _mean(self.service_seconds, ended - begun)
        if self._last_end is not None:
            self.pace_seconds = _mean(self.pace_seconds, ended - self._last_end)
        self._last_end = ended if self._unfinished >= len(self._threads) else None


def _mean(known: float, latest: float) -> float:
    return known + _WEIGHT * (latest - known) if known else latest
