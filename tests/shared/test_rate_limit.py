import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.errors import RateLimited
from shared.rate_limit import RateLimiter


class Clock:
    def __init__(self) -> None:
        self.seconds = 1_000.0

    def __call__(self) -> float:
        return self.seconds


def taken(limiter: RateLimiter, times: int, caller: str = "a", rate: float | None = None) -> int:
    """Return how many requests of many at once are let through."""
    through = 0
    for _ in range(times):
        try:
            limiter.take(caller, rate)
        except RateLimited:
            continue
        through += 1
    return through


def test_a_second_of_requests_may_come_at_once_and_no_more() -> None:
    limiter = RateLimiter(10, clock=Clock())

    assert taken(limiter, 100) == 10


def test_requests_come_back_at_the_rate() -> None:
    clock = Clock()
    limiter = RateLimiter(10, clock=clock)
    taken(limiter, 100)

    clock.seconds += 0.55

    assert taken(limiter, 100) == 5


def test_who_may_ask_less_than_once_a_second_is_told_when() -> None:
    clock = Clock()
    limiter = RateLimiter(0.1, clock=clock)
    limiter.take("a")

    with pytest.raises(RateLimited) as caught:
        limiter.take("a")
    clock.seconds += caught.value.retry_after_seconds

    assert caught.value.retry_after_seconds == 10
    assert taken(limiter, 5) == 1


def test_callers_do_not_take_from_each_other_and_may_have_limits_of_their_own() -> None:
    limiter = RateLimiter(10, clock=Clock())
    taken(limiter, 100)

    assert taken(limiter, 100, "b", 3) == 3


def test_memory_is_bounded_however_many_ask() -> None:
    clock = Clock()
    limiter = RateLimiter(1, max_callers=2, clock=clock)
    for caller in "abc":
        limiter.take(caller)

    assert taken(limiter, 1, "c") == 0
    assert taken(limiter, 1, "a") == 1


@given(
    rate=st.floats(0.2, 1_000),
    pauses=st.lists(st.floats(0, 3), min_size=1, max_size=60),
)
def test_in_no_time_more_come_through_than_the_rate_and_one_burst(
    rate: float, pauses: list[float]
) -> None:
    clock = Clock()
    limiter = RateLimiter(rate, clock=clock)
    through = 0
    for pause in pauses:
        clock.seconds += pause
        through += taken(limiter, 3)

    assert through <= sum(pauses) * rate + max(rate, 1) + 1e-6
