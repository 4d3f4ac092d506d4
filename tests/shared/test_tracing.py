import os
import subprocess
import sys
from collections.abc import Iterator

import pytest
import structlog
from fastapi import FastAPI
from fastapi.testclient import TestClient
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from prometheus_client import CollectorRegistry

from shared import tracing
from shared.telemetry import StageMetrics
from shared.web.tracing import TraceRequests

TRACE = "0af7651916cd43dd8448eb211c80319c"
GIVEN = {"traceparent": f"00-{TRACE}-b7ad6b7169203331-01"}


@pytest.fixture
def exporter() -> Iterator[InMemorySpanExporter]:
    exporter = InMemorySpanExporter()
    tracing.start("test", "", exporter=exporter)
    yield exporter
    tracing.stop()


@pytest.fixture
def client() -> TestClient:
    app = FastAPI()
    app.add_middleware(TraceRequests)
    stages = StageMetrics("inference", CollectorRegistry())

    @app.get("/v1/ads")
    async def ads(query: str) -> dict[str, str]:
        stages.observe(encode=0.002, search=0.001)
        return tracing.outgoing()

    @app.get("/v1/broken")
    async def broken() -> None:
        raise RuntimeError("oboe quartet")

    @app.get("/metrics")
    async def metrics() -> None: ...

    return TestClient(app, raise_server_exceptions=False)


def test_a_request_continues_its_callers_trace_down_to_the_index(
    client: TestClient, exporter: InMemorySpanExporter
) -> None:
    asked_next = client.get("/v1/ads?query=oboe+quartet", headers=GIVEN).json()

    encode, search, request = exporter.get_finished_spans()
    assert [each.name for each in (encode, search, request)] == [
        "inference.encode",
        "inference.search",
        "GET /v1/ads",
    ]
    assert {f"{each.context.trace_id:032x}" for each in (encode, search, request)} == {TRACE}
    assert encode.parent is not None
    assert encode.parent.span_id == request.context.span_id
    assert encode.end_time == search.start_time
    assert asked_next["traceparent"].split("-")[1:3] == [TRACE, f"{request.context.span_id:016x}"]


def test_a_span_holds_route_and_status_and_nothing_that_was_asked(
    client: TestClient, exporter: InMemorySpanExporter
) -> None:
    client.get("/v1/ads?query=oboe+quartet")
    client.get("/v1/broken")

    written = "".join(span.to_json() for span in exporter.get_finished_spans())
    *_, broken = exporter.get_finished_spans()
    assert "oboe" not in written
    assert broken.attributes is not None
    assert broken.attributes["http.response.status_code"] == 500
    assert not broken.status.is_ok


def test_probes_are_not_traced(client: TestClient, exporter: InMemorySpanExporter) -> None:
    client.get("/metrics")

    assert exporter.get_finished_spans() == ()


def test_the_request_id_goes_on_whether_traces_are_on_or_off() -> None:
    with structlog.contextvars.bound_contextvars(request_id="r1"):
        assert tracing.outgoing() == {"x-request-id": "r1"}
    assert tracing.outgoing() == {}


def test_without_an_endpoint_nothing_is_imported_and_nothing_recorded() -> None:
    script = """
import sys
from shared import tracing
assert tracing.start("test", "") is False
with tracing.span("work", skim__job_id="j") as span:
    span.tell(a=1)
tracing.record_stages("inference", {"encode": 0.1})
assert tracing.outgoing() == {}
print(any(name.startswith("opentelemetry") for name in sys.modules))
"""
    finished = subprocess.run(  # noqa: S603  (our own command)
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )

    assert finished.stdout == "False\n"


def test_an_endpoint_without_opentelemetry_is_one_line_that_says_what_to_install() -> None:
    script = """
import sys
sys.modules["opentelemetry.sdk"] = None
from fastapi import FastAPI
from shared.web.tracing import trace
trace(FastAPI(title="SKIM inference"))
"""
    finished = subprocess.run(  # noqa: S603  (our own command)
        [sys.executable, "-c", script],
        env={**os.environ, "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:4318"},
        capture_output=True,
        text=True,
        check=False,
    )

    [line] = finished.stderr.splitlines()
    assert finished.returncode == 1
    assert line.startswith("SKIM inference: ")
    assert "skim[telemetry]" in line
