"""A histogram of seconds that costs a request little: the client library's takes a lock twice, and its buckets one by one."""

from __future__ import annotations

import threading
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import accumulate

from prometheus_client import CollectorRegistry
from prometheus_client.metrics_core import HistogramMetricFamily, Metric
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

LATENCY_BUCKETS_SECONDS: Sequence[float] = (
    0.00005, 0.0001, 0.00025, 0.0005, 0.00075, 0.001, 0.0015, 0.002, 0.003, 0.004, 0.006, 0.008, 0.012,
    0.016, 0.024, 0.032, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0,
)  # fmt: skip
_BOUNDS = (*map(floatToGoString, LATENCY_BUCKETS_SECONDS), "+Inf")


@dataclass(slots=True)
class _Row:
    seconds: float = 0.0
    counts: list[int] = field(default_factory=lambda: [0] * len(_BOUNDS))
    """Of each bucket by itself."""


class Durations(Collector):
    """How long something took, by labels. Safe to use from several threads.

    Args:
        name: of the metric.
        documentation: one line.
        labels: their names.
        registry: where it is read.
    """

    def __init__(
        self, name: str, documentation: str, labels: Sequence[str], registry: CollectorRegistry
    ) -> None:
        self._name, self._documentation, self._labels = name, documentation, labels
        self._rows: dict[tuple[str, ...], _Row] = {}
        self._lock = threading.Lock()
        registry.register(self)

    def observe(self, durations: Iterable[tuple[tuple[str, ...], float]]) -> None:
        """Count durations, each with the values of its labels."""
        with self._lock:
            for labels, seconds in durations:
                row = self._rows.get(labels)
                if row is None:
                    row = self._rows[labels] = _Row()
                row.seconds += seconds
                row.counts[bisect_left(LATENCY_BUCKETS_SECONDS, seconds)] += 1

    def collect(self) -> Iterator[Metric]:
        """Yield the histogram."""
        family = HistogramMetricFamily(self._name, self._documentation, labels=self._labels)
        with self._lock:
            for labels, row in self._rows.items():
                buckets = list(zip(_BOUNDS, accumulate(row.counts), strict=True))
                family.add_metric(labels, buckets, row.seconds)
        yield family
