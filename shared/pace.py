"""Long work beside requests: it gives way, so that who waits for an answer hardly notices."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from contextlib import suppress
from typing import TypeVar

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")
_SLICE_SECONDS = 0.0005
"""Others wait no longer for the interpreter; it is handed over at the latest every 5 ms by itself."""
_PRIORITY = 10
"""Behind what has the usual 0, and not starved by it: a switch must end on a busy machine too."""


class Pace:
    """How fast long work may go.

    Args:
        share: of the time that it may work; 1 holds nothing back.
    """

    def __init__(self, share: float = 1.0) -> None:
        self._rest = 1 / share - 1

    def each(self, items: Iterable[_Item], *, look: int = 16) -> Iterator[_Item]:
        """Yield the items, and rest between them for as long as work on them has earned.

        Args:
            items: of which each costs little; what is called for them holds the interpreter.
            look: at the clock after as many.
        """
        if not self._rest:
            yield from items
            return
        begun = time.thread_time()
        for number, item in enumerate(items, 1):
            yield item
            if number % look == 0 and (worked := time.thread_time() - begun) > _SLICE_SECONDS:
                time.sleep(worked * self._rest)
                begun = time.thread_time()

    def behind(self, work: Callable[[], _Result]) -> _Result:
        """Return what `work` returns, done behind all others on the processor; for what lets go of the interpreter.

        What held it would make others wait for whoever comes last.
        """
        if not self._rest:
            return work()
        done: Future[_Result] = Future()
        # A thread of its own: a priority that was given up cannot be taken back.
        thread = threading.Thread(target=_do, args=(work, done), name="behind")
        thread.start()
        thread.join()
        return done.result()


def _do(work: Callable[[], _Result], done: Future[_Result]) -> None:
    with suppress(OSError, AttributeError):  # threads have no priority of their own but on Linux
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _PRIORITY)
    try:
        done.set_result(work())
    except BaseException as error:  # noqa: BLE001  (the caller raises it)
        done.set_exception(error)
