"""The thread that keeps the decoder busy, and the door through which requests reach it."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable

import structlog

from services.generation.batching import Batcher, StepReport
from services.generation.requests import Request, Ticket
from shared.errors import Unavailable

_LOG = structlog.get_logger()


class DecodingLoop:
    """Runs a batcher's steps while there is work. Requests may come from any thread.

    Args:
        batcher: touched by the loop's thread only.
        on_step: called after each step, from that thread.
    """

    def __init__(
        self, batcher: Batcher, on_step: Callable[[StepReport], None] = lambda _: None
    ) -> None:
        self._batcher = batcher
        self._on_step = on_step
        self._inbox: deque[Ticket] = deque()
        self._has_news = threading.Condition()
        self._is_closing = False
        self._thread = threading.Thread(target=self._run, name="decoding", daemon=True)

    def start(self) -> None:
        """Start the thread; once."""
        self._thread.start()

    def close(self) -> None:
        """Stop after the step under way; whoever still waits is told `Unavailable`."""
        with self._has_news:
            self._is_closing = True
            self._has_news.notify()
        if self._thread.is_alive():
            self._thread.join()

    def submit(self, request: Request) -> Ticket:
        """Queue a request; raises `Unavailable` once the loop is closed."""
        ticket = Ticket(request, time.monotonic())
        with self._has_news:
            if self._is_closing:
                raise Unavailable("the language model is closed")
            self._inbox.append(ticket)
            self._has_news.notify()
        return ticket

    def _run(self) -> None:
        while self._collect():
            try:
                self._on_step(self._batcher.step())
            except Exception as error:  # noqa: BLE001  (a mistake of ours may not leave all waiting)
                _LOG.exception("batching failed")
                self._batcher.fail_all(error)
        self._batcher.fail_all(Unavailable("the language model is closed"))

    def _collect(self) -> bool:
        """Hand new requests to the batcher, waiting for one if there is nothing else; False: close."""
        with self._has_news:
            while not (self._inbox or self._is_closing) and self._batcher.is_idle:
                self._has_news.wait()
            while self._inbox:
                self._batcher.add(self._inbox.popleft())
            return not self._is_closing
