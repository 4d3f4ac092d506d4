"""`POST /v1/events`: what users were shown and clicked."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import APIRouter, FastAPI, Request, Response

from services.inference.bodies import described
from services.inference.event_desk import EventDesk
from shared.contracts.events import Event, EventsResponse
from shared.contracts.generation import NDJSON


def events_router(desk: EventDesk) -> APIRouter:
    """Return the routes; the desk is open as long as the application runs."""

    @asynccontextmanager
    async def _lifespan(_: FastAPI) -> AsyncIterator[None]:
        desk.open()
        yield
        desk.close()

    router = APIRouter(tags=["events"], lifespan=_lifespan)

    @router.post(
        "/v1/events",
        response_model=EventsResponse,
        openapi_extra=described(Event, desk.most, alone=False),
    )
    async def post(request: Request) -> Response:
        """Keep impressions and clicks: a JSON list, or one JSON object a line (`application/x-ndjson`).

        Answered when all accepted events are on disk, with a verdict for each event; sending the same again is harmless.
        """
        is_ndjson = request.headers.get("content-type", "").startswith(NDJSON)
        response = await desk.take(await request.body(), is_ndjson=is_ndjson)
        return Response(response.model_dump_json(), media_type="application/json")

    return router
