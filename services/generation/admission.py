"""How many documents are taken in at once, and when to try again when there is no room."""

from __future__ import annotations

import math
import time
from collections.abc import Callable

from shared.errors import TooLarge, Unavailable


class Admission:
    """Bounds the documents that were taken in and are not yet answered, waiting or being written.

    Used from one event loop.

    Args:
        places: most documents at once.
        clock: seconds.
    """

    _WINDOW = 128  # documents after which what was measured before counts half
    _UNMEASURED_SECONDS = 5
    _LONGEST_SECONDS = 60

    def __init__(self, places: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._places = places
        self._clock = clock
        self._noted = clock()
        self._busy_seconds = 0.0
        self._written = 0.0
        self.held = 0
        """Documents taken in and not yet answered."""

    def enter(self, documents: int) -> None:
        """Take in all documents of a request, or none.

        Raises:
            TooLarge: there will never be room for so many.
            Unavailable: there is no room now; it says when there should be.
        """
        if documents > self._places:
            raise TooLarge(f"{documents} documents at once, at most {self._places} are taken in")
        self._note_time()
        missing = self.held + documents - self._places
        if missing > 0:
            raise Unavailable(
                f"no room for {documents} documents: {self.held} of {self._places} places are taken",
                retry_after_seconds=self._seconds_until_free(missing),
            )
        self.held += documents

    def leave(self, *, is_written: bool) -> None:
        """Give a document's place free; one that was written tells how fast the model is."""
        self._note_time()
        self.held -= 1
        if is_written:
            self._written += 1
            if self._written > self._WINDOW:
                self._written /= 2
                self._busy_seconds /= 2

    def _note_time(self) -> None:
        now = self._clock()
        if self.held:
            self._busy_seconds += now - self._noted
        self._noted = now

    def _seconds_until_free(self, documents: int) -> int:
        if not self._written:
            return self._UNMEASURED_SECONDS
        seconds = documents * self._busy_seconds / self._written
        return min(max(1, math.ceil(seconds)), self._LONGEST_SECONDS)
