"""What is counted of events, and how much happened since the served bundle was trained."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from pathlib import Path

from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from shared.contracts.events import EventsResponse
from shared.durations import LATENCY_BUCKETS_SECONDS
from shared.events.record import stamp
from shared.events.tally import Tallies


class EventMetrics:
    """Events by verdict, commits, and places that were drawn at random.

    Args:
        registry: of the service.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        self._events = Counter(
            "skim_inference_events", "Events by verdict.", ["status"], registry=registry
        )
        self._commit_seconds = Histogram(
            "skim_inference_event_commit_seconds",
            "Time to bring the events that waited to the disk.",
            buckets=LATENCY_BUCKETS_SECONDS,
            registry=registry,
        )
        self.drawn = Counter(
            "skim_inference_drawn_places",
            "Places of answers whose ad was drawn at random.",
            registry=registry,
        )

    def taken(self, response: EventsResponse) -> None:
        """Count the verdicts of a request."""
        self._events.labels("accepted").inc(response.accepted)
        self._events.labels("duplicate").inc(response.duplicates)
        self._events.labels("rejected").inc(response.rejected)

    def committed(self, seconds: float, events: int) -> None:
        """Time a commit."""
        del events
        self._commit_seconds.observe(seconds)


class SinceBundle(Collector):
    """Gauges that say whether it is time to train; looked up when they are asked for.

    Args:
        folder: of the event files.
        trained_until: gives the moment up to which the served bundle knows the log; None without a bundle.
    """

    def __init__(self, folder: Path, trained_until: Callable[[], datetime | None]) -> None:
        self._tallies, self._trained_until = Tallies(folder), trained_until
        self._looking = threading.Lock()

    def collect(self) -> Iterable[Metric]:
        """Yield the gauges; none without a bundle."""
        events = GaugeMetricFamily(
            "skim_inference_events_since_bundle",
            "Events since the served bundle was trained, retries included.",
            labels=["kind"],
        )
        age = GaugeMetricFamily(
            "skim_inference_bundle_age_seconds", "Since the served bundle last saw the log."
        )
        until = self._trained_until()
        if until is not None:
            with self._looking:
                tally = self._tallies.since(stamp(until))
            events.add_metric(["click"], tally.clicks)
            events.add_metric(["impression"], tally.impressions)
            events.add_metric(["explored"], tally.explored)
            age.add_metric([], max(0.0, (datetime.now(UTC) - until).total_seconds()))
        yield events
        yield age

    def describe(self) -> Iterable[Metric]:
        """Yield nothing: nothing is looked up when this is registered."""
        return ()
