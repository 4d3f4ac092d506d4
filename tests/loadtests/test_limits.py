import pytest

from loadtests.limits import Limits, Observed, broken

LIMITS = Limits(failed_percent=1, ads_p99_ms=100, job_p95_seconds=60)


def observed(
    requests: int = 1_000,
    failed: int = 0,
    ads_p99_ms: float | None = 20,
    job_p95_seconds: float | None = 5,
) -> Observed:
    return Observed(requests, failed, ads_p99_ms, job_p95_seconds)


@pytest.mark.parametrize(
    "run",
    [
        observed(),
        observed(failed=10),
        observed(ads_p99_ms=100, job_p95_seconds=60),
    ],
)
def test_a_run_within_its_limits_passes(run: Observed) -> None:
    assert broken(run, LIMITS) == []


@pytest.mark.parametrize(
    ("run", "line"),
    [
        (observed(requests=0), "no request was answered"),
        (observed(failed=11), "1.10 % failed, at most 1 % may"),
        (observed(ads_p99_ms=101), "ads took 101 ms at p99, limit 100"),
        (observed(job_p95_seconds=61), "jobs took 61 s at p95, limit 60"),
        (observed(ads_p99_ms=None), "no question for ads was answered"),
        (observed(job_p95_seconds=None), "no job was finished"),
    ],
)
def test_a_broken_limit_is_named_with_both_numbers(run: Observed, line: str) -> None:
    assert broken(run, LIMITS) == [line]


def test_a_flow_that_was_not_asked_for_promises_nothing() -> None:
    limits = Limits(failed_percent=1, ads_p99_ms=None, job_p95_seconds=None)

    assert broken(observed(ads_p99_ms=None, job_p95_seconds=None), limits) == []


def test_every_broken_limit_is_named() -> None:
    assert len(broken(observed(failed=500, ads_p99_ms=1e4, job_p95_seconds=1e4), LIMITS)) == 3
