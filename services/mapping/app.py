"""The mapping service's HTTP face: `POST /v1/map`, `GET /v1/info`, `POST /v1/index:reload`."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace

from fastapi import FastAPI, Response

from services.mapping.mapper import QueryMapper
from services.mapping.rules import MappingRule
from services.mapping.settings import MappingSettings
from shared.contracts.mapping import MappingInfo, MapRequest, MapResponse
from shared.pool import BoundedPool
from shared.served import Served
from shared.web import create_app


def build_app(settings: MappingSettings, load: Callable[[], QueryMapper]) -> FastAPI:
    """Return the application; `load` gives the mapper to serve, at start and at each reload."""
    served = Served(load)
    pool = BoundedPool(threads=settings.threads, max_waiting=settings.max_waiting)

    @asynccontextmanager
    async def _lifespan(_: FastAPI) -> AsyncIterator[None]:
        await served.start()
        yield
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

    @app.post("/v1/map", response_model=MapResponse, tags=["mapping"])
    async def map_queries(request: MapRequest) -> Response:
        """Give, for each document, the train queries its synthetic queries reach, best first."""
        content = await pool.run(_map, served.current(), request)
        return Response(content, media_type="application/json")

    @app.get("/v1/info", tags=["mapping"])
    async def info() -> MappingInfo:
        """Say what the service maps with."""
        return _info(served.current())

    @app.post("/v1/index:reload", tags=["operations"])
    async def reload() -> MappingInfo:
        """Serve the index that is on disk now; a damaged one leaves the served one in place."""
        return _info(await served.reload())

    return app


def _map(mapper: QueryMapper, request: MapRequest) -> str:
    rule = _rule_of(mapper, request)
    response = MapResponse(
        encoder=mapper.encoder.name,
        min_similarity=rule.least_similarity,
        neighbours=rule.neighbours,
        trust=mapper.preset.trust.name,
        policy=mapper.policy,
        index_version=mapper.index.version,
        results=mapper.map(request.documents, rule=rule, among=request.among),
    )
    return response.model_dump_json()


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
        min_similarity=mapper.rule.least_similarity,
        neighbours=mapper.rule.neighbours,
        trust=mapper.preset.trust.name,
        rule=mapper.rule.name,
        policy=mapper.policy,
        index_version=mapper.index.version,
    )
