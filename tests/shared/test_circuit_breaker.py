import pytest

from shared.circuit_breaker import CircuitBreaker, CircuitOpen


class Clock:
    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


class Probe:
    def __init__(self) -> None:
        self.asked = 0
        self.is_ready = False

    def __call__(self) -> bool:
        self.asked += 1
        return self.is_ready


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def probe() -> Probe:
    return Probe()


@pytest.fixture
def breaker(clock: Clock) -> CircuitBreaker:
    """Opens after two failures for 1, 2, 4, 4, ... seconds."""
    return CircuitBreaker(
        "mapping",
        failures=2,
        pause_seconds=1.0,
        longest_pause_seconds=4.0,
        now=clock,
        draw=lambda: 1.0,
    )


def fail(breaker: CircuitBreaker, times: int = 2) -> None:
    for _ in range(times):
        breaker.failed()


def test_calls_pass_until_some_failed_in_a_row(breaker: CircuitBreaker, probe: Probe) -> None:
    breaker.failed()
    breaker.succeeded()
    breaker.failed()

    breaker.admit(probe)

    assert probe.asked == 0


def test_an_open_circuit_asks_nothing_until_its_pause_is_over(
    breaker: CircuitBreaker, clock: Clock, probe: Probe
) -> None:
    fail(breaker)
    clock.seconds = 0.9

    with pytest.raises(CircuitOpen, match="mapping: no answer") as refused:
        breaker.admit(probe)

    assert (probe.asked, refused.value.retry_after_seconds) == (0, 1)


def test_one_probe_that_is_answered_lets_calls_pass(
    breaker: CircuitBreaker, clock: Clock, probe: Probe
) -> None:
    fail(breaker)
    clock.seconds = 1.0
    probe.is_ready = True

    for _ in range(3):
        breaker.admit(probe)

    assert probe.asked == 1


def test_while_one_probes_no_other_call_passes(breaker: CircuitBreaker, clock: Clock) -> None:
    fail(breaker)
    clock.seconds = 1.0
    others: list[bool] = []

    def probe() -> bool:
        with pytest.raises(CircuitOpen):
            breaker.admit(lambda: True)
        others.append(True)
        return True

    breaker.admit(probe)

    assert others == [True]


def test_pauses_grow_up_to_the_longest(
    breaker: CircuitBreaker, clock: Clock, probe: Probe
) -> None:
    fail(breaker)
    asked_at = []
    for tenth in range(150):
        clock.seconds, before = tenth / 10, probe.asked
        with pytest.raises(CircuitOpen):
            breaker.admit(probe)
        if probe.asked > before:
            asked_at.append(clock.seconds)

    assert asked_at == [1.0, 3.0, 7.0, 11.0]


def test_the_first_call_to_fail_after_a_probe_opens_the_circuit_again(
    breaker: CircuitBreaker, clock: Clock, probe: Probe
) -> None:
    fail(breaker)
    clock.seconds = 1.0
    probe.is_ready = True
    breaker.admit(probe)

    breaker.failed()

    with pytest.raises(CircuitOpen):
        breaker.admit(probe)


def test_a_probe_that_breaks_leaves_the_circuit_open(
    breaker: CircuitBreaker, clock: Clock, probe: Probe
) -> None:
    fail(breaker)
    clock.seconds = 1.0

    def broken() -> bool:
        raise OSError("no socket")

    with pytest.raises(OSError, match="no socket"):
        breaker.admit(broken)

    with pytest.raises(CircuitOpen):
        breaker.admit(probe)
    assert probe.asked == 0


def test_a_success_makes_pauses_short_again(
    breaker: CircuitBreaker, clock: Clock, probe: Probe
) -> None:
    for clock.seconds in (0.0, 1.0, 3.0):
        fail(breaker)
        with pytest.raises(CircuitOpen):
            breaker.admit(probe)
    breaker.succeeded()

    fail(breaker)
    clock.seconds += 1.0
    probe.is_ready = True

    breaker.admit(probe)
