"""`/v1/jobs`: listed, looked at, cancelled, and followed as they go."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from fastapi.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from services.augmentation.events import events_of
from services.augmentation.seats import Seats
from services.augmentation.settings import AugmentationSettings
from shared.contracts.augmentation import Job, Jobs
from shared.store import Store

_EVENTS = "text/event-stream"
_CANNOT_CANCEL: dict[int | str, dict[str, Any]] = {
    409: {"description": "A remap is not cancelled", "content": {"application/problem+json": {}}}
}


class _EventStream(StreamingResponse):
    """A stream that gives its seat free, however it ends."""

    leave: Callable[[], None]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            self.leave()


def job_routes(settings: AugmentationSettings, store: Store) -> APIRouter:
    """Return the routes of jobs."""
    router = APIRouter(tags=["jobs"])
    seats = Seats(settings.max_event_streams, "streams of events")

    @router.get("/v1/jobs")
    def jobs(
        limit: Annotated[int, Query(ge=1, le=1000)] = 20,
        cursor: Annotated[str | None, Query(max_length=300)] = None,
    ) -> Jobs:
        """List jobs, newest first; `next_cursor` of a page asks for the one after it."""
        found, next_cursor = store.jobs(limit, cursor)
        return Jobs(jobs=found, next_cursor=next_cursor)

    @router.get("/v1/jobs/{job_id}")
    def job(job_id: str) -> Job:
        """Say where a job stands."""
        return store.job(job_id)

    @router.post("/v1/jobs/{job_id}:cancel", responses=_CANNOT_CANCEL)
    def cancel(job_id: str) -> Job:
        """Have nothing more of a job worked on; what is in hand is finished. One that is over stays as it is."""
        return store.cancel(job_id)

    @router.get(
        "/v1/jobs/{job_id}/events",
        response_class=StreamingResponse,
        responses={200: {"content": {_EVENTS: {}}, "description": "Events named `job`"}},
    )
    async def events(job_id: str, request: Request) -> StreamingResponse:
        """Stream a job's progress as server-sent events, until it is over. `errors` and `refusals` are left out."""
        first = await asyncio.to_thread(store.job, job_id)
        seats.take()
        stream = _EventStream(
            events_of(
                first,
                lambda: store.job(job_id),
                is_stopping=lambda: bool(request.app.state.is_stopping),
                pause_seconds=settings.event_seconds,
                heartbeat_seconds=settings.heartbeat_seconds,
            ),
            media_type=_EVENTS,
            headers={"cache-control": "no-store", "x-accel-buffering": "no"},
        )
        stream.leave = seats.leave
        return stream

    return router
