"""The metrics of every process as they are registered, and the table of them in deploy/README.md."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from tempfile import mkdtemp

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.metrics import MetricWrapperBase
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from services.augmentation.app import build_app as build_augmentation
from services.augmentation.dispatcher import Dispatcher
from services.augmentation.settings import AugmentationSettings
from services.augmentation.worker_metrics import METRICS
from services.dashboard.app import build_app as build_dashboard
from services.dashboard.settings import DashboardSettings
from services.generation.metrics import GenerationMetrics
from services.inference.app import build_app as build_inference
from services.inference.event_desk import EventDesk
from services.inference.generations import Generations
from services.inference.live_ads import LiveAds
from services.inference.settings import InferenceSettings
from services.mapping.app import build_app as build_mapping
from services.mapping.settings import MappingSettings
from shared.errors import Unavailable
from shared.settings import CommonSettings
from shared.store import MemoryStore
from shared.telemetry import HttpMetrics
from tests.support.queues import FakeQueue

EVERY_SERVICE = "every service"
_SUFFIXES = {"counter": ("_total",), "histogram": ("_bucket", "_sum", "_count"), "gauge": ("",)}


@dataclass(frozen=True)
class Described:
    """One metric as it is registered."""

    name: str
    kind: str
    labels: tuple[str, ...]
    text: str

    @property
    def series(self) -> set[str]:
        """Return the names under which Prometheus keeps it."""
        return {self.name + suffix for suffix in _SUFFIXES[self.kind]}


def _nothing() -> object:
    raise Unavailable("nothing to serve")


@cache
def registered() -> dict[str, tuple[Described, ...]]:
    """Return the metrics of each process, by the job that Prometheus knows it as."""
    store = MemoryStore()
    dispatcher = Dispatcher(store, FakeQueue(), batch_size=1, seconds=1)
    generation = CollectorRegistry()
    HttpMetrics(generation)
    GenerationMetrics(generation)
    nowhere = Path(mkdtemp())
    generations = Generations(nowhere / "bundles", lambda: LiveAds(nowhere / "ads"))
    registries = {
        "generation": generation,
        "mapping": build_mapping(MappingSettings(), _nothing).state.registry,  # type: ignore[arg-type]
        "augmentation": build_augmentation(
            AugmentationSettings(), store, dispatcher
        ).state.registry,
        "worker": METRICS.registry,
        "inference": build_inference(
            InferenceSettings(),
            generations,
            open_desk=partial(EventDesk, nowhere / "events", InferenceSettings(), lambda: None),
        ).state.registry,
        "dashboard": build_dashboard(CommonSettings(), DashboardSettings()).state.registry,
    }
    return {job: tuple(_described(registry)) for job, registry in registries.items()}


def series() -> dict[str, set[str]]:
    """Return every name that can be asked for, with the labels it has."""
    found: dict[str, set[str]] = {"up": set(), "process_start_time_seconds": set()}
    for metrics in registered().values():
        for metric in metrics:
            for name in metric.series:
                found[name] = set(metric.labels) | ({"le"} if name.endswith("_bucket") else set())
    return found


def table() -> str:
    """Return the Markdown table that deploy/README.md holds."""
    by_job = registered()
    shared = [each for each in by_job["generation"] if each in by_job["dashboard"]]
    rows = ["| of | metric | type | labels | says |", "|---|---|---|---|---|"]
    rows += [_row(EVERY_SERVICE, metric) for metric in shared]
    for job, metrics in by_job.items():
        rows += [_row(job, metric) for metric in metrics if metric not in shared]
    return "\n".join(rows)


def _row(job: str, metric: Described) -> str:
    labels = ", ".join(f"`{label}`" for label in metric.labels) or "-"
    [name, *_] = sorted(metric.series) if metric.kind != "histogram" else [metric.name]
    return f"| {job} | `{name}` | {metric.kind} | {labels} | {metric.text} |"


def _described(registry: CollectorRegistry) -> Iterator[Described]:
    """Yield what each collector gives, with its labels even before anything was counted."""
    for collector in registry._collector_to_names:
        if isinstance(collector, ProcessCollector):
            continue  # process_*: the client library documents them
        if isinstance(collector, MetricWrapperBase):
            yield _of_wrapper(collector)
        else:
            yield from map(_of_family, _families(collector))


def _families(collector: Collector) -> list[Metric]:
    return list(collector.collect())


def _of_wrapper(metric: MetricWrapperBase) -> Described:
    return Described(metric._name, metric._type, tuple(metric._labelnames), metric._documentation)


def _of_family(family: Metric) -> Described:
    labels: tuple[str, ...] = tuple(getattr(family, "_labelnames", ()))
    return Described(family.name, family.type, labels, family.documentation)
