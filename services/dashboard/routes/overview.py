"""The first page, the same for programs, and the events that keep pages up to date."""

from __future__ import annotations

import time
from collections.abc import Callable

from fastapi import APIRouter, Request, Response
from fastapi.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from services.dashboard.flow import flow_of
from services.dashboard.live import Streams, ticks
from services.dashboard.overview import Overview, SuiteReader
from services.dashboard.routes.site import Site
from services.dashboard.shown import duration
from services.dashboard.troubles import troubles_of

_RECENT_JOBS = 5


class _Stream(StreamingResponse):
    """Gives its seat free however it ends, and also if it never began."""

    leave: Callable[[], None]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            self.leave()


def overview_routes(site: Site, reader: SuiteReader, streams: Streams) -> APIRouter:
    """Return the routes."""
    router = APIRouter()

    @router.get("/v1/overview", tags=["dashboard"])
    async def read_overview() -> Overview:
        """Give what the first page shows."""
        return await reader.overview()

    @router.get("/", include_in_schema=False)
    async def page(request: Request) -> Response:
        """Show the suite."""
        overview = await reader.overview()
        troubles = troubles_of(overview, queue_age_seconds=site.settings.queue_age_seconds)
        labels, answers = flow_of(overview, troubles)
        return site.page(
            request,
            "overview.html",
            overview=overview,
            troubles=troubles,
            labels=labels,
            answers=answers,
            jobs=None if overview.jobs is None else overview.jobs[:_RECENT_JOBS],
            now=time.strftime("%H:%M:%S", time.gmtime()),
            window=duration(site.settings.rate_window_seconds),
        )

    @router.get("/live", include_in_schema=False)
    async def live(request: Request) -> Response:
        """Tell a page when to bring itself up to date."""
        streams.enter()
        stream = _Stream(
            ticks(site.settings.refresh_seconds, lambda: bool(request.app.state.is_stopping)),
            media_type="text/event-stream",
            headers={"cache-control": "no-store", "x-accel-buffering": "no"},
        )
        stream.leave = streams.leave
        return stream

    return router
