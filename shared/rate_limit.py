"""How often each caller may ask: a bucket of requests that fills at a steady rate."""

from __future__ import annotations

import math
import time
from collections import OrderedDict
from collections.abc import Callable

from shared.errors import RateLimited


class RateLimiter:
    """A bucket a caller, in this process; of many, who asked longest ago is forgotten, so memory is bounded.

    A caller has saved up a second's worth of requests, one at least. What is kept of it is a single number:
    when its bucket will be full again (the generic cell rate algorithm).

    Args:
        requests_per_second: of a caller without a limit of its own.
        max_callers: how many are remembered.
        clock: seconds that only grow.
    """

    def __init__(
        self,
        requests_per_second: float,
        *,
        max_callers: int = 10_000,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._requests_per_second = requests_per_second
        self._max_callers = max_callers
        self._clock = clock
        self._full_at: OrderedDict[str, float] = OrderedDict()

    def take(self, caller: str, requests_per_second: float | None = None) -> None:
        """Count one request.

        Raises:
            RateLimited: the bucket is empty; nothing was counted, and the error says when to come back.
        """
        rate = requests_per_second or self._requests_per_second
        now = self._clock()
        full_at = max(self._full_at.get(caller, now), now) + 1 / rate
        wait_seconds = full_at - now - max(1.0, 1 / rate)
        if wait_seconds > 1e-9:
            raise RateLimited(
                f"more than {rate:g} requests a second",
                retry_after_seconds=math.ceil(wait_seconds),
            )
        self._full_at[caller] = full_at
        self._full_at.move_to_end(caller)
        if len(self._full_at) > self._max_callers:
            self._full_at.popitem(last=False)
