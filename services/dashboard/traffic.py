"""Requests a second, percentiles and errors of each service, from samples of its metrics."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from prometheus_client.parser import text_string_to_metric_families

from shared.contracts.base import Contract

WORK = {
    "generation": "/v1/generate",
    "mapping": "/v1/map",
    "augmentation": "/v1/documents",
    "inference": "/v1/ads",
}
"""The routes that count, by how they begin: probes and this dashboard's own questions are no traffic."""
_REQUESTS, _SECONDS = "skim_http_requests", "skim_http_request_seconds"
_GAUGES = {
    "skim_augmentation_queue_age_seconds": "queue_age_seconds",
    "skim_mapping_index_recall": "index_recall",
}


@dataclass(frozen=True)
class Sample:
    """What a service's metrics said at one moment: sums since it started, and gauges."""

    requests: float = 0
    errors: float = 0
    buckets: Mapping[float, float] = field(default_factory=dict)
    """Upper bound in seconds -> requests that took no longer."""
    gauges: Mapping[str, float] = field(default_factory=dict)


class Traffic(Contract):
    """A service's requests over the last minutes. Percentiles are None without requests."""

    requests_per_second: float
    p50_ms: float | None
    p99_ms: float | None
    errors: int
    """Answers with a status of 500 and above."""


def sample_of(name: str, text: str) -> Sample:
    """Return the sums in a service's metrics, in Prometheus's text format.

    Raises:
        ValueError: it is something else.
    """
    route = WORK[name]
    requests, errors, gauges = 0.0, 0.0, {}
    buckets: defaultdict[float, float] = defaultdict(float)
    for family in text_string_to_metric_families(text):
        if family.name in _GAUGES and family.samples:
            gauges[_GAUGES[family.name]] = family.samples[0].value
        if family.name not in (_REQUESTS, _SECONDS):
            continue
        for each in family.samples:
            if not each.labels.get("route", "").startswith(route):
                continue
            if each.name == f"{_REQUESTS}_total":
                requests += each.value
                errors += each.value if each.labels["status"] >= "500" else 0
            elif each.name == f"{_SECONDS}_bucket":
                buckets[float(each.labels["le"])] += each.value
    return Sample(requests, errors, buckets, gauges)


class TrafficWindow:
    """Samples of one service.

    Args:
        window_seconds: samples older than this no longer count.
    """

    def __init__(self, window_seconds: float) -> None:
        self._window_seconds = window_seconds
        self._samples: deque[tuple[float, Sample]] = deque()

    def add(self, seconds: float, sample: Sample) -> None:
        """Add a sample; `seconds` of a clock that never goes back. A service that began anew begins anew."""
        if self._samples and sample.requests < self._samples[-1][1].requests:
            self._samples.clear()
        self._samples.append((seconds, sample))
        while seconds - self._samples[0][0] > self._window_seconds:
            self._samples.popleft()

    def traffic(self) -> Traffic | None:
        """Return what happened in the window; None before the second sample."""
        if len(self._samples) < 2:
            return None
        (begin, first), (end, last) = self._samples[0], self._samples[-1]
        took = [
            (bound, last.buckets[bound] - first.buckets.get(bound, 0))
            for bound in sorted(last.buckets)
        ]
        return Traffic(
            requests_per_second=(last.requests - first.requests) / (end - begin),
            p50_ms=quantile_ms(took, 0.5),
            p99_ms=quantile_ms(took, 0.99),
            errors=round(last.errors - first.errors),
        )

    def gauge(self, name: str) -> float | None:
        """Return a gauge as it was sampled last; None if the service has none or it is not a number."""
        value = self._samples[-1][1].gauges.get(name) if self._samples else None
        return value if value == value else None  # noqa: PLR0124  (NaN: not measured yet)


def quantile_ms(buckets: Sequence[tuple[float, float]], share: float) -> float | None:
    """Return a quantile in ms, as Prometheus estimates it: linear within the bucket it falls into.

    Args:
        buckets: upper bound in seconds and how many took no longer, by bound; the last bound may be infinite.
        share: of the requests, in (0, 1).
    """
    total = buckets[-1][1] if buckets else 0
    if total <= 0:
        return None
    below, low = 0.0, 0.0
    for bound, count in buckets:
        if count >= share * total:
            if bound == float("inf"):
                return low * 1000
            return (low + (bound - low) * (share * total - below) / (count - below)) * 1000
        below, low = count, bound
    return low * 1000
