"""Traces of requests and tasks (W3C trace context, sent as OTLP): the one module that knows OpenTelemetry.

Without an endpoint nothing is imported and nothing recorded. Spans hold names, ids, numbers and statuses, never what
a document or a query says. What is sampled is OpenTelemetry's own setting (`OTEL_TRACES_SAMPLER`).
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from importlib.metadata import version
from typing import TYPE_CHECKING, Literal, Protocol
from urllib.parse import urlsplit

import structlog

from shared.errors import InvalidInput

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SpanExporter
    from opentelemetry.trace import Span, Tracer

Kind = Literal["INTERNAL", "SERVER", "PRODUCER", "CONSUMER"]
Value = str | int | float | bool
REQUEST_ID = "x-request-id"
_TRACES_PATH = "/v1/traces"


class Spanned(Protocol):
    """A piece of work under way."""

    def tell(self, **attributes: Value) -> None:
        """Note what became known of it."""

    def rename(self, name: str) -> None:
        """Give it its name."""

    def fail(self, reason: str) -> None:
        """Note that it failed."""


class _Nothing:
    def tell(self, **attributes: Value) -> None:
        pass

    def rename(self, name: str) -> None:
        pass

    def fail(self, reason: str) -> None:
        pass


_OFF: AbstractContextManager[Spanned] = nullcontext(_Nothing())
_tracing: _Tracing | None = None


def start(service: str, endpoint: str, *, exporter: SpanExporter | None = None) -> bool:
    """Begin to trace this process; False, and nothing is done, without an endpoint.

    Args:
        service: its name in traces.
        endpoint: of an OTLP collector, over HTTP; `/v1/traces` is meant if it has no path.
        exporter: takes the spans at once, instead of a collector.

    Raises:
        InvalidInput: there is an endpoint, and OpenTelemetry is not installed.
    """
    global _tracing
    if not endpoint and exporter is None:
        return False
    try:
        _tracing = _Tracing(service, endpoint, exporter)
    except ImportError as error:
        raise InvalidInput(
            "SKIM_TRACES_ENDPOINT is set and OpenTelemetry is not installed: "
            "pip install 'skim[telemetry]', or unset it"
        ) from error
    return True


def stop() -> None:
    """Send what is left, and trace no more."""
    global _tracing
    if _tracing is not None:
        _tracing.provider.shutdown()
        _tracing = None


def span(
    name: str,
    kind: Kind = "INTERNAL",
    *,
    parent: Mapping[str, str] | None = None,
    **attributes: Value,
) -> AbstractContextManager[Spanned]:
    """Trace the body as one piece of work.

    Args:
        name: what is done, the same for all that do it.
        kind: on which side of a call it is.
        parent: headers that came with the work; what is under way here, if absent.
        attributes: known already; dots are written as `__`.
    """
    return _OFF if _tracing is None else _tracing.span(name, kind, parent, attributes)


def record_stages(service: str, stages: Mapping[str, float]) -> None:
    """Note stages, in seconds, that ended just now one after the other, as parts of what is under way."""
    if _tracing is not None:
        _tracing.record(service, stages)


def outgoing() -> dict[str, str]:
    """Return the headers that carry request id and trace to whom we ask."""
    headers = {}
    request_id = structlog.contextvars.get_contextvars().get("request_id")
    if request_id:
        headers[REQUEST_ID] = str(request_id)
    if _tracing is not None:
        _tracing.inject(headers)
    return headers


class _Tracing:
    """OpenTelemetry, set up."""

    provider: TracerProvider
    _tracer: Tracer

    def __init__(self, service: str, endpoint: str, exporter: SpanExporter | None) -> None:
        from opentelemetry import trace
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor, SimpleSpanProcessor
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        self._trace = trace
        self._propagator = TraceContextTextMapPropagator()
        resource = Resource.create(
            {"service.name": f"skim-{service}", "service.version": version("skim")}
        )
        self.provider = TracerProvider(resource=resource)
        if exporter is not None:
            self.provider.add_span_processor(SimpleSpanProcessor(exporter))
        else:
            from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

            otlp = OTLPSpanExporter(endpoint=_whole(endpoint))
            self.provider.add_span_processor(BatchSpanProcessor(otlp))
        self._tracer = self.provider.get_tracer("skim")

    @contextmanager
    def span(
        self,
        name: str,
        kind: Kind,
        parent: Mapping[str, str] | None,
        attributes: Mapping[str, Value],
    ) -> Iterator[Spanned]:
        context = None if parent is None else self._propagator.extract(dict(parent))
        with self._tracer.start_as_current_span(
            name,
            context,
            self._trace.SpanKind[kind],
            _dotted(attributes),
            record_exception=False,  # an error's message may quote a document
            set_status_on_exception=False,
        ) as under_way:
            spanned = _Spanned(under_way)
            try:
                yield spanned
            except BaseException as error:
                spanned.fail(type(error).__name__)
                raise

    def record(self, service: str, stages: Mapping[str, float]) -> None:
        ends = time.time_ns()
        begins = ends - int(sum(stages.values()) * 1e9)
        for stage, seconds in stages.items():
            until = begins + int(seconds * 1e9)
            self._tracer.start_span(f"{service}.{stage}", start_time=begins).end(until)
            begins = until

    def inject(self, headers: dict[str, str]) -> None:
        self._propagator.inject(headers)


class _Spanned:
    def __init__(self, span: Span) -> None:
        self._span = span

    def tell(self, **attributes: Value) -> None:
        self._span.set_attributes(_dotted(attributes))

    def rename(self, name: str) -> None:
        self._span.update_name(name)

    def fail(self, reason: str) -> None:
        from opentelemetry.trace import Status, StatusCode

        self._span.set_status(Status(StatusCode.ERROR, reason))


def _dotted(attributes: Mapping[str, Value]) -> dict[str, Value]:
    return {name.replace("__", "."): value for name, value in attributes.items()}


def _whole(endpoint: str) -> str:
    path = urlsplit(endpoint).path
    return endpoint if path.strip("/") else endpoint.rstrip("/") + _TRACES_PATH
