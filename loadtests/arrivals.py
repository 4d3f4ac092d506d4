"""When documents come: all at once, or at random moments at a mean rate."""

from __future__ import annotations

import numpy as np


def all_at_once(count: int) -> list[float]:
    """Return `count` arrivals at second 0."""
    return [0.0] * count


def poisson(count: int, *, per_second: float, seed: int = 0) -> list[float]:
    """Return `count` arrivals of a Poisson process, in seconds, ascending.

    Args:
        count: how many.
        per_second: mean rate.
        seed: of the random gaps.
    """
    if per_second <= 0:
        raise ValueError(f"expected a rate above 0 per second, got {per_second}")
    gaps = np.random.default_rng(seed).exponential(1 / per_second, count)
    arrivals: list[float] = gaps.cumsum().tolist()
    return arrivals
