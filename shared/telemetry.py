"""Metric names and log format of every process: one place, so that dashboards and code agree."""

from __future__ import annotations

import logging
import sys
from collections.abc import Sequence
from typing import TextIO

import structlog
from prometheus_client import CollectorRegistry, Counter, Histogram, ProcessCollector

from shared.tracing import record_stages

LATENCY_BUCKETS_SECONDS: Sequence[float] = (
    0.00005, 0.0001, 0.00025, 0.0005, 0.00075, 0.001, 0.0015, 0.002, 0.003, 0.004, 0.006, 0.008, 0.012,
    0.016, 0.024, 0.032, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0,
)  # fmt: skip


_OF_LIBRARIES: logging.StreamHandler[TextIO] = logging.StreamHandler()


class HttpMetrics:
    """Requests by route, method and status, how long they took, and the process that answers them."""

    def __init__(self, registry: CollectorRegistry) -> None:
        ProcessCollector(registry=registry)
        self._requests = Counter(
            "skim_http_requests",
            "Requests answered.",
            ["route", "method", "status"],
            registry=registry,
        )
        self._seconds = Histogram(
            "skim_http_request_seconds",
            "Time from the first byte of a request to the last of its answer.",
            ["route", "method"],
            buckets=LATENCY_BUCKETS_SECONDS,
            registry=registry,
        )
        self._known: dict[tuple[str, str, int], tuple[Counter, Histogram]] = {}
        """`labels()` costs more than what it is asked for."""

    def observe(self, route: str, method: str, status: int, seconds: float) -> None:
        """Count one answer."""
        key = (route, method, status)
        if key not in self._known:
            self._known[key] = (
                self._requests.labels(route, method, str(status)),
                self._seconds.labels(route, method),
            )
        count, duration = self._known[key]
        count.inc()
        duration.observe(seconds)


class StageMetrics:
    """Where the time of one request goes, stage by stage.

    Args:
        service: the metric is `skim_<service>_stage_seconds`.
        stages: their names, in the order they happen.
        registry: of the service.
    """

    def __init__(self, service: str, stages: Sequence[str], registry: CollectorRegistry) -> None:
        seconds = Histogram(
            f"skim_{service}_stage_seconds",
            "Time one stage of a request took.",
            ["stage"],
            buckets=LATENCY_BUCKETS_SECONDS,
            registry=registry,
        )
        self._service = service
        self._seconds = {stage: seconds.labels(stage) for stage in stages}

    def observe(self, **seconds: float) -> str:
        """Count the stages of one request; return them as a `Server-Timing` header."""
        for stage, value in seconds.items():
            self._seconds[stage].observe(value)
        record_stages(self._service, seconds)
        return ", ".join(f"{stage};dur={value * 1000:.3f}" for stage, value in seconds.items())


def configure_logging(level: str = "INFO") -> None:
    """Log JSON lines to standard error: events with fields, never a document's text.

    What libraries log takes the same form from WARNING on; below it they tell of requests with all they hold.
    """
    number = logging.getLevelNamesMapping()[level.upper()]
    fields: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
    ]
    structlog.configure(
        processors=[*fields, structlog.processors.JSONRenderer()],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.WriteLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    _OF_LIBRARIES.setStream(sys.stderr)
    _OF_LIBRARIES.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[structlog.stdlib.add_logger_name, *fields],
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.JSONRenderer(),
            ],
        )
    )
    root = logging.getLogger()
    root.addHandler(_OF_LIBRARIES)
    root.setLevel(max(number, logging.WARNING))
