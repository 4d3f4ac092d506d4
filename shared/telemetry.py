"""Metric names and log format of every process: one place, so that dashboards and code agree."""

from __future__ import annotations

import logging
import sys
from typing import TextIO

import structlog
from prometheus_client import CollectorRegistry, Counter, ProcessCollector

from shared.durations import Durations
from shared.tracing import record_stages

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
        self._seconds = Durations(
            "skim_http_request_seconds",
            "Time from the first byte of a request to the last of its answer.",
            ["route", "method"],
            registry,
        )
        self._counts: dict[tuple[str, str, int], Counter] = {}
        """`labels()` costs more than to count."""

    def observe(self, route: str, method: str, status: int, seconds: float) -> None:
        """Count one answer."""
        key = (route, method, status)
        count = self._counts.get(key)
        if count is None:
            count = self._counts[key] = self._requests.labels(route, method, str(status))
        count.inc()
        self._seconds.observe([((route, method), seconds)])


class StageMetrics:
    """Where the time of one request goes, stage by stage.

    Args:
        service: the metric is `skim_<service>_stage_seconds`.
        registry: of the service.
    """

    def __init__(self, service: str, registry: CollectorRegistry) -> None:
        self._service = service
        self._seconds = Durations(
            f"skim_{service}_stage_seconds",
            "Time one stage of a request took.",
            ["stage"],
            registry,
        )

    def observe(self, **seconds: float) -> str:
        """Count the stages of one request, in the order they happen; return them as a `Server-Timing` header."""
        self._seconds.observe(((stage,), value) for stage, value in seconds.items())
        record_stages(self._service, seconds)
        return ", ".join([f"{stage};dur={value * 1000:.3f}" for stage, value in seconds.items()])


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
