"""What the augmentation service counts itself, and what it reads from the store when asked."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client import CollectorRegistry, Counter
from prometheus_client.metrics_core import GaugeMetricFamily
from prometheus_client.registry import Collector

from shared.contracts.augmentation import JobState
from shared.errors import Unavailable
from shared.store import Store


class AugmentationMetrics:
    """Documents this process took in."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.accepted = Counter(
            "skim_augmentation_documents_accepted", "Documents taken in.", registry=registry
        )


class StoreCollector(Collector):
    """Reads the store's counts and the queue's age at each scrape; gives nothing while it is away."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """Yield one gauge a count."""
        try:
            counts, queue = self._store.counts(), self._store.queue()
        except Unavailable:
            return
        for name, text, value in (
            ("waiting", "Documents that wait to be augmented.", counts.waiting),
            ("failed", "Documents that could not be augmented.", counts.failed),
            ("dead_letters", "Documents given up, to be replayed or purged.", counts.dead_letters),
            ("labels", "Current augmented labels.", counts.labels),
            ("leased", "Documents on the queue or in a worker's hands.", queue.leased),
            (
                "queue_age_seconds",
                "Age of the oldest job with waiting documents.",
                queue.oldest_seconds,
            ),
            (
                "lease_overdue_seconds",
                "Since the oldest lease ran out: its document is in nobody's hands.",
                queue.overdue_seconds,
            ),
        ):
            yield GaugeMetricFamily(f"skim_augmentation_{name}", text, value=value)
        jobs = GaugeMetricFamily("skim_augmentation_jobs", "Jobs in each state.", labels=["state"])
        for state in JobState:
            jobs.add_metric([state.value], counts.jobs.get(state, 0))
        yield jobs
