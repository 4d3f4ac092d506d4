"""One trace and one request id from `POST /v1/documents` through a real Celery worker to the label."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from services.augmentation.app import build_app
from services.augmentation.dispatcher import Dispatcher
from services.augmentation.settings import AugmentationSettings
from services.augmentation.tasks import app as celery
from services.augmentation.tasks import augment_batch
from services.cli.processes import wait_until
from shared import tracing
from shared.contracts.generation import GeneratedQueries, GenerateResponse, GenerationInfo
from shared.contracts.mapping import MappedDocument, MappedQuery, MapResponse
from shared.store import RedisStore
from shared.store.server import RedisServer
from shared.web.tracing import TraceRequests
from tests.support.http_server import serving

REPOSITORY = Path(__file__).parents[2]
OBOE = {"id": "d1", "title": "oboe", "text": "a slender reed"}
INFO = GenerationInfo(generator="slm", adapter="a", temperature=0, top_k=1, max_new_tokens=9)
WRITTEN = GenerateResponse(
    generator="slm", results=[GeneratedQueries(document_id="d1", queries=["double reed"])]
)
LABEL = MappedQuery(
    query_id="q1", query="reeds", similarity=0.9, synthetic_query="double reed", rank=1
)
MAPPED = MapResponse(
    encoder="words",
    min_similarity=0.6,
    neighbours=1,
    results=[MappedDocument(document_id="d1", labels=[LABEL])],
)
ANSWERS = {"/v1/info": INFO, "/v1/generate": WRITTEN, "/v1/map": MAPPED}


class EveryService(BaseHTTPRequestHandler):
    """Generation, mapping and a collector of traces; notes what came."""

    server: ThreadingHTTPServer

    def answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        self.server.seen.append((self.path, dict(self.headers), body))  # type: ignore[attr-defined]
        known = ANSWERS.get(self.path)
        content = known.model_dump_json().encode() if known else b""
        self.send_response(200)
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_POST = answer

    def log_message(self, *_: object) -> None:
        pass


class LiveQueue:
    """Queues as the service does, in the Redis of the test."""

    def __init__(self, url: str) -> None:
        self._url = url

    def enqueue(self, job_id: str, document_ids: Sequence[str]) -> None:
        with celery.connection_for_write(self._url) as connection:
            augment_batch.apply_async((job_id, list(document_ids)), connection=connection)

    def waiting(self) -> int:
        return 0


@pytest.fixture
def services() -> Iterator[ThreadingHTTPServer]:
    with serving(EveryService) as server:
        yield server


@pytest.fixture
def worker_log(
    services: ThreadingHTTPServer, redis_server: RedisServer, tmp_path: Path
) -> Iterator[Path]:
    url = f"http://127.0.0.1:{services.server_address[1]}"
    environment = os.environ | {
        "SKIM_HOME": str(tmp_path),
        "SKIM_REDIS_URL": redis_server.url,
        "SKIM_GENERATION_URL": url,
        "SKIM_MAPPING_URL": url,
        "SKIM_TRACES_ENDPOINT": url,
        "SKIM_AUGMENTATION_WORKERS": "1",
        "SKIM_AUGMENTATION_METRICS_PORT": "0",
        "OTEL_BSP_SCHEDULE_DELAY": "50",
    }
    command = [sys.executable, "-m", "celery", "-A", "services.augmentation.tasks", "worker"]
    path = tmp_path / "worker.log"
    with path.open("wb") as log:
        worker = subprocess.Popen(  # noqa: S603  (our own command)
            command, env=environment, cwd=REPOSITORY, stdout=log, stderr=log
        )
    try:
        yield path
    finally:
        worker.terminate()
        worker.wait()


def sent_spans(services: ThreadingHTTPServer) -> dict[str, str]:
    """Return name -> trace id of the spans that the collector got."""
    bodies = [body for path, _, body in services.seen if path == "/v1/traces"]  # type: ignore[attr-defined]
    return {
        span.name: span.trace_id.hex()
        for body in bodies
        for resource in ExportTraceServiceRequest.FromString(body).resource_spans
        for scope in resource.scope_spans
        for span in scope.spans
    }


def test_one_trace_and_one_request_id_lead_from_the_post_to_the_label(
    services: ThreadingHTTPServer,
    worker_log: Path,
    redis_store: RedisStore,
    redis_server: RedisServer,
) -> None:
    dispatcher = Dispatcher(redis_store, LiveQueue(redis_server.url), batch_size=1, seconds=60)
    app = build_app(AugmentationSettings(), redis_store, dispatcher)
    app.add_middleware(TraceRequests)
    exporter = InMemorySpanExporter()
    tracing.start("augmentation", "", exporter=exporter)
    try:
        with TestClient(app) as client:
            posted = client.post("/v1/documents", json=OBOE)
    finally:
        tracing.stop()
    [trace_id] = {f"{span.context.trace_id:032x}" for span in exporter.get_finished_spans()}
    request_id, job_id = posted.headers["x-request-id"], posted.json()["id"]

    assert wait_until(lambda: "augment_batch" in sent_spans(services), 60)
    assert redis_store.labels("d1").labels[0].query_id == "q1"
    assert sent_spans(services) == {"augment_batch": trace_id, "store.write_labels": trace_id}
    for path, headers, _ in services.seen:  # type: ignore[attr-defined]
        if path in ANSWERS:
            asked = {name.lower(): value for name, value in headers.items()}
            assert asked["traceparent"].split("-")[1] == trace_id
            assert asked["x-request-id"] == request_id
    lines = [json.loads(line) for line in worker_log.read_text().splitlines() if line[:1] == "{"]
    [ended] = [line for line in lines if line["event"] == "batch_ended"]
    assert (ended["job"], ended["request_id"], ended["state"]) == (job_id, request_id, "SUCCESS")
    said = worker_log.read_bytes() + b"".join(
        body
        for path, _, body in services.seen  # type: ignore[attr-defined]
        if path == "/v1/traces"
    )
    assert b"slender" not in said
    assert b"double reed" not in said
