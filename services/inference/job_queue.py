"""What an event loop has for threads to do, in the order it came."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from typing import Generic, TypeVar

_Job = TypeVar("_Job")


class JobQueue(Generic[_Job]):
    """Wakes one thread a job, of those that sleep the one that fell asleep last, whose caches are warm.

    `queue.SimpleQueue` wakes all of them one after the other, and each takes the interpreter to see that nothing is left for it.
    Jobs are put and taken back by one thread, taken by any number. All steps are single operations of deque and list,
    which the interpreter does not interrupt.
    """

    def __init__(self) -> None:
        self._jobs: deque[_Job] = deque()
        self._asleep: list[threading.Lock] = []
        self._is_closed = False

    def __len__(self) -> int:
        return len(self._jobs)

    def put(self, job: _Job) -> None:
        """Add a job behind the others."""
        self._jobs.append(job)
        self._wake()

    def take(self) -> _Job | None:
        """Return the next job, as soon as there is one; None once the queue is closed."""
        while True:
            with suppress(IndexError):
                return self._jobs.popleft()
            if self._is_closed:
                return None
            bell = threading.Lock()
            bell.acquire()
            self._asleep.append(bell)
            if not self._jobs and not self._is_closed:
                bell.acquire()
                continue
            with suppress(ValueError):  # what came meanwhile may have rung it
                self._asleep.remove(bell)

    def take_more(self, most: int) -> Sequence[_Job]:
        """Return jobs that are there already, `most` at most."""
        jobs: list[_Job] = []
        with suppress(IndexError):
            while len(jobs) < most:
                jobs.append(self._jobs.popleft())
        return jobs

    def take_back(self, job: _Job) -> bool:
        """Say whether nobody took the job, and nobody will."""
        try:
            self._jobs.remove(job)
        except ValueError:
            return False
        return True

    def close(self) -> Sequence[_Job]:
        """Return the jobs that nobody took; nobody will."""
        self._is_closed = True
        left = self.take_more(len(self._jobs))
        while self._asleep:
            self._wake()
        return left

    def _wake(self) -> None:
        with suppress(IndexError):
            self._asleep.pop().release()
