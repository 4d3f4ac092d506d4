"""The inference service's HTTP face: top ads of a query, one ad, what is served, switch the bundle."""

from __future__ import annotations

import gc
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Annotated

import orjson
from fastapi import FastAPI, Query, Response
from prometheus_client import CollectorRegistry
from structlog.contextvars import get_contextvars

from services.inference.event_desk import EventDesk
from services.inference.exploration import Explorer, Slate
from services.inference.retriever import Ranking, Retriever
from services.inference.routes.events import events_router
from services.inference.settings import InferenceSettings
from shared.contracts.base import Identifier, QueryText
from shared.contracts.document import Document
from shared.contracts.inference import AdResponse, AdsResponse, InferenceInfo
from shared.pool import BoundedPool
from shared.served import Served
from shared.telemetry import StageMetrics
from shared.web import create_app

MAX_K = 1_000


def build_app(
    settings: InferenceSettings,
    load: Callable[[], Retriever],
    *,
    open_desk: Callable[[CollectorRegistry], EventDesk] | None = None,
) -> FastAPI:
    """Return the application.

    Args:
        settings: of the service.
        load: gives a warm retriever, at start and at each reload.
        open_desk: gives what takes events in; without it there are no events and no exploration.
    """
    served = Served(load)
    pool = BoundedPool(threads=settings.threads, max_waiting=settings.max_waiting)

    @asynccontextmanager
    async def _lifespan(_: FastAPI) -> AsyncIterator[None]:
        await served.start()
        gc.freeze()  # else each full collection walks every ad: a pause that grows with the bundle
        yield
        pool.close()

    async def _check_ready(_: FastAPI) -> None:
        served.current()

    app = create_app(
        "inference",
        "A query in, its top ads out.",
        _lifespan,
        check_ready=_check_ready,
        max_body_bytes=settings.max_body_bytes,
    )
    stages = StageMetrics("inference", ("queue", "encode", "search"), app.state.registry)
    desk = open_desk(app.state.registry) if open_desk else None
    if desk is not None:
        app.include_router(events_router(desk))

    # orjson instead of a response model is a third more requests a second; the model documents.
    @app.get("/v1/ads", response_model=AdsResponse, tags=["ads"])
    async def top_ads(
        query: Annotated[QueryText, Query(description="What the user typed.")],
        k: Annotated[int, Query(ge=1, le=MAX_K, description="How many ads.")] = 10,
    ) -> Response:
        """Give the top ads of a query, best first; `Server-Timing` says where the time went."""
        started = time.perf_counter()
        retriever = served.current()
        explorer = desk.explorer if desk else None
        places = explorer.places(k) if explorer else []
        begun, ranking, slate = await pool.run(_top, retriever, query, k, explorer, places)
        timing = stages.observe(
            queue=begun - started, encode=ranking.encode_seconds, search=ranking.search_seconds
        )
        took_ms = (time.perf_counter() - started) * 1000
        request = get_contextvars().get("request_id", "")
        ads = [{"id": ad.id, "title": ad.title, "score": score} for ad, score in slate.ads]
        if desk and slate.drawn:
            desk.mark(ads, slate, query=query, request=request)
        body = {
            "query": query,
            "generation": retriever.generation,
            "ads": ads,
            "took_ms": round(took_ms, 3),
            "request": request,
        }
        return Response(
            orjson.dumps(body), media_type="application/json", headers={"server-timing": timing}
        )

    @app.get("/v1/ads/{ad_id}", tags=["ads"])
    async def one_ad(ad_id: Identifier) -> AdResponse:
        """Give one ad as the bundle knows it."""
        retriever = served.current()
        return AdResponse(generation=retriever.generation, ad=retriever.ad(ad_id))

    @app.get("/v1/info", tags=["operations"])
    async def info() -> InferenceInfo:
        """Say what the answers come from."""
        return served.current().info

    @app.post("/v1/bundles:reload", tags=["operations"])
    async def reload() -> InferenceInfo:
        """Serve the bundle that is `current` now; a damaged one leaves the served one in place."""
        retriever = await served.reload()
        gc.freeze()
        return retriever.info

    return app


def _top(
    retriever: Retriever, query: str, k: int, explorer: Explorer | None, places: Sequence[int]
) -> tuple[float, Ranking, Slate[tuple[Document, float]]]:
    """Return when the work began, and its result, with ads drawn at random in these places."""
    begun = time.perf_counter()
    if explorer is None or not places:
        ranking = retriever.top(query, k)
        return begun, ranking, Slate(ranking.ads)
    ranking = retriever.top(query, explorer.reach(k))
    slate = explorer.fill(
        ranking.ads,
        k,
        places,
        population=retriever.population,
        at=lambda positions: retriever.at(positions, ranking),
        id_of=lambda ad: ad[0].id,
    )
    return begun, ranking, slate
