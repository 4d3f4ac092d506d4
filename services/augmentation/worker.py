"""What a worker does with a message: it works, waits while something is away, and gives the rest back to the queue."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence
from typing import Protocol

import structlog

from services.augmentation.dispatcher import Dispatcher
from shared.errors import Unavailable

_FIRST_PAUSE_SECONDS = 0.5
_LONGEST_PAUSE_SECONDS = 15.0
_log = structlog.get_logger()


class Augments(Protocol):
    """Works on a batch, and returns what must be tried alone."""

    def augment(
        self, job_id: str, document_ids: Sequence[str], owner: str | None = None
    ) -> Sequence[str]:
        """See `Augmenter.augment`."""


class Worker:
    """Works messages off. While a service is away its messages wait in the queue, and nothing fails.

    A worker that waits takes no other message, so an outage moves nothing round: each process asks now and
    then (its circuit breakers say when) and after `patience_seconds` lets its message queue up anew, so that
    others, which may need another service, get their turn.

    Args:
        augmenter: does the work.
        dispatcher: takes back what has to queue up anew.
        patience_seconds: how long a message is held on to.
        sleep: waits so many seconds.
        now: counts seconds.
        draw: a random number in [0, 1).
    """

    def __init__(
        self,
        augmenter: Augments,
        dispatcher: Dispatcher,
        *,
        patience_seconds: float,
        sleep: Callable[[float], None] = time.sleep,
        now: Callable[[], float] = time.monotonic,
        draw: Callable[[], float] = random.random,
    ) -> None:
        self._augmenter = augmenter
        self._dispatcher = dispatcher
        self._patience_seconds = patience_seconds
        self._sleep = sleep
        self._now = now
        self._draw = draw

    def work(self, job_id: str, document_ids: Sequence[str], owner: str) -> None:
        """Augment documents of a job; `Unavailable` only where the queue is away too, for the sweeper."""
        ends = self._now() + self._patience_seconds
        pause = _FIRST_PAUSE_SECONDS
        while True:
            try:
                apart = self._augmenter.augment(job_id, document_ids, owner)
            except Unavailable as error:
                wait = max(pause, min(error.retry_after_seconds, _LONGEST_PAUSE_SECONDS))
                _log.info("waiting", job=job_id, seconds=wait, reason=str(error))
            else:
                self._dispatcher.dispatch_apart(job_id, apart)
                return
            if self._now() + wait > ends:
                self._dispatcher.dispatch(job_id, document_ids)
                return
            self._sleep(wait * (0.5 + self._draw() / 2))
            pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)
