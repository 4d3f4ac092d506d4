"""The inference service's application: queries, changes of the ads, bundles and events are routers of their own."""

from __future__ import annotations

import asyncio
import gc
import sys
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager

from fastapi import FastAPI
from prometheus_client import CollectorRegistry
from starlette.middleware import Middleware

from services.inference.event_desk import EventDesk
from services.inference.generations import Generations
from services.inference.niceness import let_the_event_loop_go_first
from services.inference.recall_canary import RecallCanary
from services.inference.routes.ads import ads_router
from services.inference.routes.answering import Answering
from services.inference.routes.bundles import bundles_router
from services.inference.routes.changes import changes_router
from services.inference.routes.events import events_router
from services.inference.routes.lane import AdsLane
from services.inference.serving import Serving
from services.inference.settings import InferenceSettings
from shared.web import create_app

_OBJECTS_BETWEEN_COLLECTIONS = 20_000
"""More than what requests under way hold: else each wave of them is walked, and freed without the collector right after."""
_SWITCH_SECONDS = 1e-4
"""After which a thread that wants the interpreter gets it. With Python's 5 ms the threads that answer stood still while many were refused:
at twice the load a quarter of the answers was lost."""


def build_app(
    settings: InferenceSettings,
    generations: Generations,
    *,
    open_desk: Callable[[CollectorRegistry], EventDesk] | None = None,
) -> FastAPI:
    """Return the application.

    Args:
        settings: of the service.
        generations: what is served.
        open_desk: gives what takes events in; without it there are no events and no exploration.
    """
    registry = CollectorRegistry()
    serving = Serving(settings, generations, registry)
    desk = open_desk(registry) if open_desk else None
    recall = RecallCanary(generations.view, registry)
    answering = Answering(serving, desk)

    @asynccontextmanager
    async def _lifespan(_: FastAPI) -> AsyncIterator[None]:
        behind = ThreadPoolExecutor(initializer=let_the_event_loop_go_first)
        asyncio.get_running_loop().set_default_executor(behind)
        await generations.start()
        gc.collect()
        gc.freeze()  # else each full collection walks all that is kept: a pause that grows with it
        gc.set_threshold(_OBJECTS_BETWEEN_COLLECTIONS)
        sys.setswitchinterval(_SWITCH_SECONDS)
        seconds = settings.canary_seconds
        canary = asyncio.create_task(recall.watch(seconds=seconds)) if seconds else None
        yield
        if canary is not None:
            canary.cancel()
        serving.close()

    async def _check_ready(_: FastAPI) -> None:
        generations.view()

    app = create_app(
        "inference",
        "A query in, its top ads out.",
        _lifespan,
        check_ready=_check_ready,
        max_body_bytes=settings.max_body_bytes,
        registry=registry,
    )
    app.state.serving = serving
    # the innermost of all: what is refused or counted for other requests is so for these
    app.user_middleware.append(Middleware(AdsLane, serving=serving, answering=answering))
    app.include_router(ads_router(serving, answering))
    app.include_router(changes_router(serving))
    app.include_router(bundles_router(serving))
    if desk is not None:
        app.include_router(events_router(desk))
    return app
