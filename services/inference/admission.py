"""Who is worked on, who waits, and who is told at once that the wait would be too long. Used from one event loop.

A few threads take what waits in the order it came, themselves: between two queries there is no hand-over to the event loop.
What is cheaper together is taken together, if it waits anyway; nobody waits for company. Who leaves while waiting costs nothing,
and who cannot be answered by the deadline, by the service time measured of late, is refused before any work is done for them.
"""

from __future__ import annotations

import asyncio
import math
import os
import threading
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from typing import Any, ParamSpec, TypeVar

from services.inference.job_queue import JobQueue
from services.inference.niceness import let_the_event_loop_go_first
from shared.errors import Unavailable

_Arguments = ParamSpec("_Arguments")
_Item = TypeVar("_Item")
_Result = TypeVar("_Result")
_WEIGHT = 0.05
"""Of the latest service time in the running mean."""
_HOPE = 0.5
"""Share of the deadline that an answer may be expected to take, since what was let in and comes late is lost for both."""
_LONGEST_RETRY_SECONDS = 30
_BRIEF_SECONDS = 0.01
"""Longest service time for which the event loop may be kept waiting."""
_WATCH_AFTER_SECONDS = 0.05
"""Who waits no longer is not watched: to watch costs more than it would spare."""


class ClientLeft(Exception):
    """Nobody waits for the answer any more."""


@dataclass(eq=False, slots=True)
class _Job:
    work: Callable[[Sequence[Any]], Sequence[Any]]
    item: Any
    """Is worked on with those of other jobs of the same work."""
    deadline: float
    waits: bool
    """No thread was free when it came."""
    answer: asyncio.Future[tuple[float, Any]]
    """When it was begun, and what the work returned."""
    watcher: asyncio.Future[None] | None = None


class Admission:
    """Runs functions in threads, each before its deadline or not at all.

    Args:
        threads: how many run at once; one a core if absent.
        max_waiting: how many more may wait, whatever their deadlines.
        together: how many a thread takes at once, at most.
        clock: seconds that only grow.
    """

    def __init__(
        self,
        *,
        threads: int | None = None,
        max_waiting: int,
        together: int = 1,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._max_waiting, self._together, self._clock = max_waiting, together, clock
        self._jobs: JobQueue[_Job] = JobQueue()
        self._unfinished = 0
        self.service_seconds = 0.0
        """Running mean of the time from begin to end, whether alone or together; 0 before the first."""
        self.cost_seconds = 0.0
        """Running mean of what one takes of its thread, its share of what was done together; 0 before the first."""
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
        pace = max(self.pace_seconds, self.cost_seconds / threads)
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
        """Return the seconds waited, and what `function` returns; see `run_together`.

        Args:
            deadline_seconds: from now.
            has_left: returns once nobody waits for the answer; asked only while there is a queue.
            function: runs in a thread.
            args: of the function.
            kwargs: of the function.
        """
        call = partial(function, *args, **kwargs)
        return await self.run_together(deadline_seconds, has_left, lambda _: [call()], None)

    async def run_together(
        self,
        deadline_seconds: float,
        has_left: Callable[[], Awaitable[object]] | None,
        work: Callable[[Sequence[_Item]], Sequence[_Result | Exception]],
        item: _Item,
        *,
        alone: bool = False,
    ) -> tuple[float, _Result]:
        """Return the seconds waited, and what `work` makes of `item`; others with the same `work` may be its company.

        Args:
            deadline_seconds: from now.
            has_left: returns once nobody waits for the answer; asked only while there is a queue.
            work: runs in a thread; gives for each item its result, or an error that is this item's alone.
            item: one of those.
            alone: nobody else can ask meanwhile, so that what is brief is done at once on the event loop. With a
                second asker that would halve what is answered.

        Raises:
            Unavailable: see `check`.
            ClientLeft: nobody waits for the answer.
        """
        arrived = self._clock()
        self.check(deadline_seconds)
        if alone and not self._unfinished and 0 < self.service_seconds < _BRIEF_SECONDS:
            return 0.0, self._do_here(work, item)
        loop = asyncio.get_running_loop()
        job = _Job(
            work,
            item,
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
            # Else job, task and traceback hold each other until the garbage collector comes, and it stops everything.
            job.watcher = None
            del job
        return begun - arrived, result

    def close(self) -> None:
        """Finish what runs; what waits is never begun."""
        for job in self._jobs.close():
            self._unfinished -= 1
            job.answer.cancel()
        for thread in self._threads:
            thread.join()

    def _do_here(
        self, work: Callable[[Sequence[_Item]], Sequence[_Result | Exception]], item: _Item
    ) -> _Result:
        begun = self._clock()
        [result] = _results(work, [item])
        self._learn(begun, self._clock(), 1)
        if isinstance(result, BaseException):
            raise result
        return result

    def _work(self) -> None:
        let_the_event_loop_go_first()
        while self._work_off(self._jobs.take()):
            pass

    def _work_off(self, first: _Job | None) -> bool:
        """Do a job, in a thread, with what is taken along; False says that no more will come.

        Whoever waits for the next must not hold the last. No more is taken than this thread's share, since the others would
        wait for work.
        """
        if first is None:
            return False
        share = min(self._together - 1, len(self._jobs) // len(self._threads))
        jobs = [first, *self._jobs.take_more(share)]
        for work, together in groupby(jobs, key=lambda job: job.work):
            self._do(work, list(together))
        return True

    def _do(self, work: Callable[[Sequence[Any]], Sequence[Any]], jobs: Sequence[_Job]) -> None:
        begun = self._clock()
        late = [job for job in jobs if job.waits and begun + self.service_seconds > job.deadline]
        done = [job for job in jobs if job not in late] if late else jobs
        results = _results(work, [job.item for job in done]) if done else []
        worked = (begun, self._clock(), len(done)) if done else None
        finished = [*zip(done, results, strict=True), *((job, _too_late()) for job in late)]
        with suppress(RuntimeError):  # the loop is closed: nobody waits
            loop = jobs[0].answer.get_loop()
            loop.call_soon_threadsafe(self._finish, finished, begun, worked)

    def _finish(
        self,
        finished: Sequence[tuple[_Job, Any]],
        begun: float,
        worked: tuple[float, float, int] | None,
    ) -> None:
        self._unfinished -= len(finished)
        if worked is not None:
            self._learn(*worked)
        for job, result in finished:
            if job.answer.done():  # cancelled
                continue
            if isinstance(result, BaseException):
                job.answer.set_exception(result)
            else:
                job.answer.set_result((begun, result))

    def _watch(self, job: _Job, has_left: Callable[[], Awaitable[object]]) -> None:
        async def _until_left() -> None:
            await has_left()
            if self._takes_back(job) and not job.answer.done():
                job.answer.set_exception(ClientLeft())

        job.watcher = asyncio.ensure_future(_until_left())

    def _takes_back(self, job: _Job) -> bool:
        """Say whether a job was taken back, before a thread took it."""
        is_mine = self._jobs.take_back(job)
        if is_mine:
            self._unfinished -= 1
        return is_mine

    def _learn(self, begun: float, ended: float, count: int) -> None:
        self.service_seconds = _mean(self.service_seconds, ended - begun)
        self.cost_seconds = _mean(self.cost_seconds, (ended - begun) / count)
        if self._last_end is not None:
            self.pace_seconds = _mean(self.pace_seconds, (ended - self._last_end) / count)
        self._last_end = ended if self._unfinished >= len(self._threads) else None


def _results(
    work: Callable[[Sequence[_Item]], Sequence[_Result | Exception]], items: Sequence[_Item]
) -> Sequence[_Result | BaseException]:
    try:
        return work(items)
    except BaseException as raised:  # noqa: BLE001  (whoever waits hears it)
        return [raised] * len(items)


def _too_late() -> Unavailable:
    return Unavailable("the answer would come after its deadline", retry_after_seconds=1)


def _mean(known: float, latest: float) -> float:
    return known + _WEIGHT * (latest - known) if known else latest
