import pytest
from prometheus_client import CollectorRegistry, generate_latest

from services.dashboard.traffic import Sample, TrafficWindow, quantile_ms, sample_of
from shared.telemetry import HttpMetrics

INFINITE = float("inf")


def test_what_our_services_tell_is_summed_over_the_routes_that_work() -> None:
    registry = CollectorRegistry()
    metrics = HttpMetrics(registry)
    for route, status in (("/v1/ads", 200), ("/v1/ads", 503), ("/readyz", 503)):
        metrics.observe(route, "GET", status, 0.003)

    sample = sample_of("inference", generate_latest(registry).decode())

    assert (sample.requests, sample.errors) == (2, 1)
    assert (sample.buckets[0.002], sample.buckets[0.004], sample.buckets[INFINITE]) == (0, 2, 2)


def test_a_gauge_of_the_queue_is_read() -> None:
    window = TrafficWindow(60)
    window.add(0, sample_of("augmentation", "skim_augmentation_queue_age_seconds 61.5\n"))

    assert window.gauge("queue_age_seconds") == 61.5


def test_traffic_is_what_happened_between_the_samples() -> None:
    window = TrafficWindow(60)
    window.add(0, Sample(100, 1, {0.01: 100, 0.02: 100, INFINITE: 100}))
    window.add(10, Sample(150, 3, {0.01: 125, 0.02: 150, INFINITE: 150}))

    traffic = window.traffic()
    assert traffic
    assert (traffic.requests_per_second, traffic.errors) == (5, 2)
    assert traffic.p50_ms == pytest.approx(10)
    assert traffic.p99_ms == pytest.approx(19.8)


def test_one_sample_is_no_traffic() -> None:
    window = TrafficWindow(60)
    window.add(0, Sample(100))

    assert window.traffic() is None


def test_a_service_that_began_anew_begins_anew() -> None:
    window = TrafficWindow(60)
    for seconds, requests in ((0, 500), (10, 3), (20, 13)):
        window.add(seconds, Sample(requests))

    traffic = window.traffic()
    assert traffic
    assert traffic.requests_per_second == 1


@pytest.mark.parametrize(
    ("buckets", "expected"),
    [
        ([], None),
        ([(0.01, 0), (INFINITE, 0)], None),
        ([(0.01, 0), (0.03, 10), (INFINITE, 10)], 20),
        ([(0.01, 1), (INFINITE, 10)], 10),
    ],
)
def test_a_median_is_linear_within_its_bucket_and_never_past_the_last_bound(
    buckets: list[tuple[float, float]], expected: float | None
) -> None:
    assert quantile_ms(buckets, 0.5) == (None if expected is None else pytest.approx(expected))
