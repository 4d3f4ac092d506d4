"""Whether a worker's main process does its rounds. A page that a thread of it serves says nothing of that."""

from __future__ import annotations

import time
from collections.abc import Callable

from shared.errors import SkimError


class Liveness:
    """Hears of each round of the main loop, and says when it has been silent for too long.

    While Redis does not answer, the loop waits for it and makes no rounds: that is no fault of the worker, and nothing
    that a restart would mend.

    Args:
        check: asks Redis; raises if it does not answer.
        seconds: of silence that are too long.
        now: seconds of a clock that is never set back.
    """

    def __init__(
        self,
        check: Callable[[], None],
        *,
        seconds: float,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._check = check
        self._seconds = seconds
        self._now = now
        self._turned_at = self._excused_at = now()

    def turn(self) -> None:
        """Hear that the loop makes a round."""
        self._turned_at = self._now()

    def silent_seconds(self) -> float:
        """Return how long ago it made the last one."""
        return self._now() - self._turned_at

    def why_not(self) -> str:
        """Return why the worker is taken for hung, nothing if it is not."""
        if self.silent_seconds() <= self._seconds:
            return ""
        try:
            self._check()
        except SkimError:
            self._excused_at = self._now()
        if self._now() - self._excused_at <= self._seconds:
            return ""
        return f"the worker's loop makes no rounds since {self.silent_seconds():.0f} seconds"
