"""The generation and the mapping service of the chaos tests, as processes: `python -m tests.chaos.services NAME PORT`.

They give what `Scribe` and `LiveMapping` give, at a pace. A poison document does its harm from the generation
service, which knows who asks.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

from fastapi import FastAPI, Request
from fastapi.responses import StreamingResponse

from services.cli.processes import ProcessId, marked, send
from shared.contracts.generation import GenerateRequest, GenerateResponse, GenerationInfo
from shared.contracts.mapping import MappingInfo, MapRequest, MapResponse, TrainQueryChanges
from shared.web import create_app, serve
from tests.chaos.documents import CRASH, FLOOD, HANG, KILL, STOP, train_queries
from tests.support.live_mapping import LiveMapping, Scribe

MARK = "SKIM_CHAOS"
"""Environment variable that all processes of a run carry."""
_PACE = "SKIM_CHAOS_SECONDS"
"""Environment variable: seconds a document takes to be written."""
_FOR_EVER = 3_600.0


def generation_app(pace_seconds: float) -> FastAPI:
    """Return a generation service that takes its time."""
    app, scribe = _app("generation"), Scribe()

    @app.get("/v1/info")
    def info() -> GenerationInfo:
        return scribe.info()

    @app.post("/v1/generate", response_model=None)
    def generate(body: GenerateRequest, request: Request) -> GenerateResponse | StreamingResponse:
        for document in body.documents:
            if document.title == FLOOD:
                return StreamingResponse(_flood())
            _harm(document.title, request)
            time.sleep(pace_seconds)
        return scribe.generate(body.documents)

    return app


def mapping_app() -> FastAPI:
    """Return a mapping service over the row's train queries."""
    app, mapping = _app("mapping"), LiveMapping()
    for query_id, text in train_queries().items():
        mapping.put(query_id, text)

    @app.get("/v1/info")
    def info() -> MappingInfo:
        return mapping.info()

    @app.post("/v1/map")
    def map_queries(body: MapRequest) -> MapResponse:
        return mapping.map(body)

    @app.get("/v1/train-queries/changes")
    def changes(since: int) -> TrainQueryChanges:
        return mapping.changes(since)

    return app


def _app(name: str) -> FastAPI:
    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield

    async def check_ready(_: FastAPI) -> None:
        return

    return create_app(
        name, "Stands in.", lifespan, check_ready=check_ready, max_body_bytes=8_000_000
    )


def _harm(title: str, request: Request) -> None:
    if title == HANG:
        time.sleep(_FOR_EVER)
    elif title == CRASH:
        os._exit(9)
    elif title in (KILL, STOP):
        caller = _caller_of(request)
        if caller is not None:
            send(caller, signal.SIGKILL if title == KILL else signal.SIGSTOP)
        time.sleep(_FOR_EVER)


def _flood() -> Iterator[bytes]:
    while True:
        yield b" " * 1_000_000


def _caller_of(request: Request) -> ProcessId | None:
    """Return the process of this run at the other end of the request's connection."""
    port = request.client.port if request.client else 0
    inode = _inode_of(port)
    for process in marked(f"{MARK}={os.environ[MARK]}"):
        if process.pid != os.getpid() and inode in _sockets_of(process.pid):
            return process
    return None


def _inode_of(port: int) -> str:
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        fields = line.split()
        if int(fields[1].rpartition(":")[2], 16) == port:
            return fields[9]
    return ""


def _sockets_of(pid: int) -> set[str]:
    found = set()
    try:
        for each in Path(f"/proc/{pid}/fd").iterdir():
            found.add(os.readlink(each).removeprefix("socket:[").removesuffix("]"))
    except OSError:  # it ended meanwhile
        pass
    return found


def main() -> None:
    """Serve one of them."""
    name, port = sys.argv[1], int(sys.argv[2])
    pace_seconds = float(os.environ.get(_PACE, "0.05"))
    app = generation_app(pace_seconds) if name == "generation" else mapping_app()
    serve(app, host="127.0.0.1", port=port, log_level="WARNING")


if __name__ == "__main__":
    main()
