"""What the inference service answers from, looked up at each scrape."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import astuple, dataclass, fields

from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector


@dataclass(frozen=True)
class ServedBundle:
    """Names of what is served."""

    generation: str
    encoder: str
    index: str


class BundleCollector(Collector):
    """Names the served bundle; gives nothing while there is none.

    Args:
        read: gives what is served now.
    """

    def __init__(self, read: Callable[[], ServedBundle | None]) -> None:
        self._read = read

    def collect(self) -> Iterator[Metric]:
        """Yield the bundle's names."""
        served = self._read()
        bundle = GaugeMetricFamily(
            "skim_inference_bundle",
            "1 for the bundle that is served.",
            labels=[field.name for field in fields(ServedBundle)],
        )
        if served is not None:
            bundle.add_metric(astuple(served), 1)
        yield bundle
