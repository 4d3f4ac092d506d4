"""Keeps calls from a service that does not answer, and looks now and then whether it does again."""

from __future__ import annotations

import math
import random
import threading
import time
from collections.abc import Callable

from shared.errors import Unavailable


class CircuitOpen(Unavailable):
    """It did not answer a moment ago and was not asked again."""


class CircuitBreaker:
    """Opens after some failures in a row; after a pause one probe decides whether calls pass again.

    Pauses double, with jitter, up to the longest, until a call has succeeded. A probe that is answered lets
    calls pass; the first of them to fail opens the circuit at once.

    Args:
        place: of the service, for messages.
        failures: in a row that open the circuit.
        pause_seconds: before the first probe.
        longest_pause_seconds: between two probes.
        now: counts seconds.
        draw: a random number in [0, 1).
    """

    def __init__(
        self,
        place: str,
        *,
        failures: int = 2,
        pause_seconds: float = 0.5,
        longest_pause_seconds: float = 15.0,
        now: Callable[[], float] = time.monotonic,
        draw: Callable[[], float] = random.random,
    ) -> None:
        self._place = place
        self._most_failures = failures
        self._first_pause = pause_seconds
        self._longest_pause = longest_pause_seconds
        self._now = now
        self._draw = draw
        self._lock = threading.Lock()
        self._failures = 0
        self._pause = pause_seconds
        self._open_until: float | None = None
        self._is_probing = False

    def admit(self, probe: Callable[[], bool]) -> None:
        """Return if a call may pass now; asks `probe` where that is due.

        Raises:
            CircuitOpen: it may not; the error says when to come back.
        """
        with self._lock:
            if self._open_until is None:
                return
            if self._is_probing or self._now() < self._open_until:
                raise self._refusal()
            self._is_probing = True
        is_there = False
        try:
            is_there = probe()
        finally:
            with self._lock:
                self._is_probing = False
                if is_there:
                    self._open_until = None
                else:
                    self._open()
        if not is_there:
            raise self._refusal()

    def succeeded(self) -> None:
        """Note that a call was answered."""
        with self._lock:
            self._failures, self._pause, self._open_until = 0, self._first_pause, None

    def failed(self) -> None:
        """Note that a call was not answered."""
        with self._lock:
            self._failures += 1
            if self._failures >= self._most_failures and self._open_until is None:
                self._open()

    def _open(self) -> None:
        self._open_until = self._now() + self._pause * (0.5 + self._draw() / 2)
        self._pause = min(2 * self._pause, self._longest_pause)

    def _refusal(self) -> CircuitOpen:
        left = 0.0 if self._open_until is None else self._open_until - self._now()
        return CircuitOpen(
            f"{self._place}: no answer; it is not asked again before it is ready",
            retry_after_seconds=max(1, math.ceil(left)),
        )
