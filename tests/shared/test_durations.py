import random
import threading

from prometheus_client import CollectorRegistry, Histogram, generate_latest

from shared.durations import LATENCY_BUCKETS_SECONDS, Durations


def page(registry: CollectorRegistry) -> list[str]:
    lines = generate_latest(registry).decode().splitlines()
    return sorted(line for line in lines if "_created" not in line)


def test_it_reads_as_the_client_library_s_histogram_does() -> None:
    ours, theirs = CollectorRegistry(), CollectorRegistry()
    durations = Durations("skim_seconds", "How long.", ["stage"], ours)
    histogram = Histogram(
        "skim_seconds", "How long.", ["stage"], buckets=LATENCY_BUCKETS_SECONDS, registry=theirs
    )
    drawn = random.Random(1)
    for value in (0.0, 0.002, 1e9, *(drawn.expovariate(100) for _ in range(500))):
        stage = drawn.choice(["encode", "search"])
        durations.observe([((stage,), value)])
        histogram.labels(stage).observe(value)

    assert page(ours) == page(theirs)
    assert 'skim_seconds_bucket{le="+Inf",stage="encode"}' in "\n".join(page(ours))


def test_nothing_is_lost_between_threads() -> None:
    registry = CollectorRegistry()
    durations = Durations("skim_seconds", "How long.", ["stage"], registry)

    def observe() -> None:
        for _ in range(2_000):
            durations.observe([(("a",), 0.25), (("b",), 0.5)])

    threads = [threading.Thread(target=observe) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert registry.get_sample_value("skim_seconds_count", {"stage": "a"}) == 8_000
    assert registry.get_sample_value("skim_seconds_sum", {"stage": "b"}) == 4_000
