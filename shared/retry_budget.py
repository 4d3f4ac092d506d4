"""Bounds retries to a share of the calls, so that they cannot add up to a storm."""

from __future__ import annotations

import threading


class RetryBudget:
    """A purse of retries: each call puts a little in, each retry takes one out.

    Args:
        share: retries a call earns.
        most: retries that can be saved up; it begins with so many.
    """

    def __init__(self, *, share: float = 0.1, most: int = 10) -> None:
        self._share = share
        self._most = most
        self._saved = float(most)
        self._lock = threading.Lock()

    def earn(self) -> None:
        """Count a call."""
        with self._lock:
            self._saved = min(self._saved + self._share, self._most)

    def spend(self) -> bool:
        """Take out a retry; False if there is none."""
        with self._lock:
            if self._saved < 1:
                return False
            self._saved -= 1
            return True
