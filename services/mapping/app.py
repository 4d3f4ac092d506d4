"""The mapping service's HTTP face: `POST /v1/map`, `/v1/train-queries`, `GET /v1/info`, `POST /v1/index:reload`."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Annotated, TypeVar

import structlog
from fastapi import APIRouter, FastAPI, Query, Request, Response
from pydantic import ValidationError

from services.mapping.mapper import QueryMapper, Tally
from services.mapping.metrics import MappingMetrics
from services.mapping.recall_canary import watch
from services.mapping.rules import MappingRule
from services.mapping.serving import ServedMapping
from services.mapping.settings import MappingSettings
from services.mapping.train_queries import TrainQueries
from shared.contracts.base import Contract
from shared.contracts.mapping import (
    MappingInfo,
    MapRequest,
    MapResponse,
    TrainQueriesChanged,
    TrainQuery,
    TrainQueryChanges,
    TrainQueryId,
)
from shared.dataset import Query as DatasetQuery
from shared.errors import InvalidInput, NotFound, SkimError
from shared.pool import BoundedPool
from shared.served import Served
from shared.telemetry import StageMetrics
from shared.web import create_app
from shared.web.openapi import a_line, body_of, list_of

_Line = TypeVar("_Line", bound=Contract)
_log = structlog.get_logger()


def build_app(settings: MappingSettings, load: Callable[[], ServedMapping]) -> FastAPI:
    """Return the application; `load` gives what to serve, at start and at each reload."""
    served = Served(load)
    pool = BoundedPool(threads=settings.threads, max_waiting=settings.max_waiting)

    @asynccontextmanager
    async def _lifespan(_: FastAPI) -> AsyncIterator[None]:
        await served.start()
        seconds = settings.canary_seconds
        canary = (
            asyncio.create_task(watch(served.peek, metrics, seconds=seconds)) if seconds else None
        )
        yield
        if canary is not None:
            canary.cancel()
        pool.close()

    async def _check_ready(_: FastAPI) -> None:
        served.current()

    app = create_app(
        "mapping",
        "Synthetic queries in, train queries out.",
        _lifespan,
        check_ready=_check_ready,
        max_body_bytes=settings.max_body_bytes,
    )

    metrics = MappingMetrics(app.state.registry)
    stages = StageMetrics("mapping", app.state.registry)

    @app.post("/v1/map", response_model=MapResponse, tags=["mapping"])
    async def map_queries(request: MapRequest) -> Response:
        """Give, for each document, the train queries its synthetic queries reach, best first."""
        arrived = time.perf_counter()
        begun, content = await pool.run(_map, served.current().mapper, request, metrics)
        timing = stages.observe(queue=begun - arrived, map=time.perf_counter() - begun)
        return Response(content, media_type="application/json", headers={"server-timing": timing})

    @app.get("/v1/info", tags=["mapping"])
    async def info() -> MappingInfo:
        """Say what the service maps with."""
        return _info(served.current().mapper)

    changing = asyncio.Lock()

    @app.post("/v1/index:reload", tags=["operations"])
    async def reload() -> MappingInfo:
        """Serve the index that is on disk now; a damaged one leaves the served one in place."""
        async with changing:  # a change must not go to a journal that was read already
            before = served.peek()
            if before is not None:  # nor may a compaction under way replace what is being read
                await asyncio.to_thread(before.train_queries.retire)
            try:
                return _info((await served.reload()).mapper)
            except BaseException:
                if before is not None:
                    before.train_queries.retire(is_retired=False)
                raise

    app.include_router(_train_queries(settings, served, pool, changing))
    return app


def _train_queries(
    settings: MappingSettings,
    served: Served[ServedMapping],
    pool: BoundedPool,
    changing: asyncio.Lock,
) -> APIRouter:
    router = APIRouter(tags=["train queries"])
    compactions: set[asyncio.Task[None]] = set()

    async def _change(
        change: Callable[[TrainQueries], TrainQueriesChanged],
    ) -> TrainQueriesChanged:
        async with changing:
            train_queries = served.current().train_queries
            changed = await pool.run(change, train_queries)
        if train_queries.needs_compaction:
            task = asyncio.create_task(asyncio.to_thread(_compact, train_queries))
            compactions.add(task)
            task.add_done_callback(compactions.discard)
        return changed

    @router.put("/v1/train-queries", openapi_extra=body_of(a_line(list_of(TrainQuery))))
    async def put(request: Request) -> TrainQueriesChanged:
        """Add train queries, or give known ids another text: `{"id", "text"}` a line, all of them or none."""
        lines = _lines_of(await request.body(), TrainQuery, settings.max_lines)
        queries = [DatasetQuery(id=line.id, text=line.text) for line in lines]
        return await _change(lambda train_queries: train_queries.put(queries))

    @router.delete("/v1/train-queries", openapi_extra=body_of(a_line(list_of(TrainQueryId))))
    async def delete_many(request: Request) -> TrainQueriesChanged:
        """Take train queries out: `{"id"}` a line; ids that are not there are counted."""
        lines = _lines_of(await request.body(), TrainQueryId, settings.max_lines)
        ids = [line.id for line in lines]
        return await _change(lambda train_queries: train_queries.delete(ids))

    @router.get("/v1/train-queries/changes")
    async def changes(since: Annotated[int, Query(ge=0)]) -> TrainQueryChanges:
        """Say which train queries were added, changed or removed after a version."""
        return await pool.run(served.current().train_queries.changes, since)

    @router.get("/v1/train-queries/{query_id}")
    async def get(query_id: str) -> TrainQuery:
        """Give a train query."""
        found = served.current().train_queries.index.get(query_id)
        if found is None:
            raise NotFound(f"there is no train query {query_id!r}")
        return TrainQuery(id=found.id, text=found.text)

    @router.delete("/v1/train-queries/{query_id}")
    async def delete(query_id: str) -> TrainQueriesChanged:
        """Take one train query out."""
        changed = await _change(lambda train_queries: train_queries.delete([query_id]))
        if not changed.removed:
            raise NotFound(f"there is no train query {query_id!r}")
        return changed

    return router


def _lines_of(body: bytes, model: type[_Line], most: int) -> list[_Line]:
    """Return the lines of an NDJSON body, all valid.

    Raises:
        InvalidInput: there are none or too many, or one is not what is expected; the message names it.
    """
    lines = [
        (number, line) for number, line in enumerate(body.splitlines(), start=1) if line.strip()
    ]
    if not lines:
        raise InvalidInput("no lines: expected one JSON object a line")
    if len(lines) > most:
        raise InvalidInput(f"{len(lines)} lines, at most {most} may come at once")
    parsed = []
    for number, line in lines:
        try:
            parsed.append(model.model_validate_json(line))
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"])
            raise InvalidInput(
                f"line {number}: {where}: {first['msg']}"
                if where
                else f"line {number}: {first['msg']}"
            ) from error
    return parsed


def _compact(train_queries: TrainQueries) -> None:
    try:
        train_queries.compact()
    except (SkimError, OSError, RuntimeError, MemoryError):
        # The index serves on with its journal; the next change tries again.
        _log.exception("compaction_failed")


def _map(mapper: QueryMapper, request: MapRequest, tally: Tally) -> tuple[float, str]:
    """Return when the work began, and the answer."""
    begun = time.perf_counter()
    rule = _rule_of(mapper, request)
    # Before the search: a change meanwhile makes the answer look older than it is, never newer.
    version = mapper.index.version
    response = MapResponse(
        encoder=mapper.encoder.name,
        min_similarity=rule.least_similarity,
        neighbours=rule.neighbours,
        trust=mapper.preset.trust.name,
        policy=mapper.policy,
        index_version=version,
        results=mapper.map(request.documents, rule=rule, among=request.among, tally=tally),
    )
    return begun, response.model_dump_json()


def _rule_of(mapper: QueryMapper, request: MapRequest) -> MappingRule:
    """Return the paper's rule for a request with a tau or neighbours of its own."""
    if request.min_similarity is None and request.neighbours is None:
        return mapper.rule
    preset = mapper.preset
    tau, neighbours = request.min_similarity, request.neighbours
    return replace(
        preset,
        min_similarity=preset.min_similarity if tau is None else tau,
        neighbours=neighbours or preset.neighbours,
    )


def _info(mapper: QueryMapper) -> MappingInfo:
    return MappingInfo(
        encoder=mapper.encoder.name,
        train_queries=len(mapper.index),
        rule=mapper.rule.name,
        trust=mapper.preset.trust.name,
        policy=mapper.policy,
        index_version=mapper.index.version,
        min_similarity=mapper.rule.least_similarity,
        neighbours=mapper.rule.neighbours,
    )
