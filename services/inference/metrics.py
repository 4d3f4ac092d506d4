"""What the inference service answers from, looked up at each scrape."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from shared.contracts.inference import InferenceInfo


class BundleCollector(Collector):
    """Names the served bundle; gives nothing while there is none.

    Args:
        read: gives what is served now.
    """

    def __init__(self, read: Callable[[], InferenceInfo | None]) -> None:
        self._read = read

    def collect(self) -> Iterator[Metric]:
        """Yield the bundle's name."""
        info = self._read()
        bundle = GaugeMetricFamily(
            "skim_inference_bundle",
            "1 for the bundle that is served.",
            labels=["generation", "encoder", "index"],
        )
        if info is not None:
            bundle.add_metric([info.generation, info.encoder, info.index], 1)
        yield bundle
