"""The one factory for our FastAPI applications."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from importlib.metadata import version
from typing import Any

from fastapi import FastAPI, Response
from fastapi.middleware.asyncexitstack import AsyncExitStackMiddleware
from fastapi.responses import PlainTextResponse
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from starlette.applications import Starlette
from starlette.middleware.exceptions import ExceptionMiddleware
from starlette.types import ASGIApp, Receive, Scope, Send

from shared.errors import Unavailable
from shared.telemetry import HttpMetrics
from shared.web import problems
from shared.web.access import AccessControl
from shared.web.middleware import BodyLimit, PlainBodies, RequestContext
from shared.web.openapi import described

PROBLEM_RESPONSES: dict[int | str, dict[str, Any]] = {
    status: {"description": description, "content": {"application/problem+json": {}}}
    for status, description in {
        400: "The body is no JSON",
        401: "A key is needed, and none that is known here was sent",
        403: "The key has not the scope that is needed",
        404: "Nothing under that name",
        409: "It clashes with what is already there",
        413: "The body is too large",
        415: "The body is packed (Content-Encoding)",
        422: "The input is at fault; `errors` says where",
        429: "More requests than this key may make; see Retry-After",
        503: "Not available now; see Retry-After",
    }.items()
}


class Service(FastAPI):
    """A FastAPI application whose OpenAPI document says which scope each route asks for."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one ASGI scope, past FastAPI's own telemetry: it walks all middleware for each request."""
        await Starlette.__call__(self, scope, receive, send)

    def build_middleware_stack(self) -> ASGIApp:
        """Return our middleware around the routes, without what FastAPI puts around it: errors, traces and limits are seen to."""
        app: ASGIApp = AsyncExitStackMiddleware(self.router)
        app = ExceptionMiddleware(app, handlers=self.exception_handlers)
        for ours, args, kwargs in reversed(self.user_middleware):
            app = ours(app, *args, **kwargs)
        return app

    def openapi(self) -> dict[str, Any]:
        """Return the OpenAPI document."""
        if self.openapi_schema is None:
            self.openapi_schema = described(super().openapi())
        return self.openapi_schema


def create_app(
    name: str,
    description: str,
    lifespan: Callable[[FastAPI], AbstractAsyncContextManager[None]],
    *,
    check_ready: Callable[[FastAPI], Awaitable[None]],
    max_body_bytes: int,
    registry: CollectorRegistry | None = None,
    is_stream: Callable[[Scope], bool] = lambda _: False,
) -> FastAPI:
    """Return an application with `/livez`, `/readyz`, `/metrics`, problem+json errors and limits.

    Nobody needs a key until `app.state.access` asks for one, as `serve` makes it do.

    Args:
        name: the service, as it is known in logs and metrics.
        description: one line for the OpenAPI document.
        lifespan: builds what the routes need and keeps it in `app.state`.
        check_ready: raises `Unavailable` while the service cannot answer.
        max_body_bytes: a larger request body is refused with 413.
        registry: where the service's own metrics live; a new one if absent.
        is_stream: whether a request's body may have any length, since it is read bit by bit.
    """
    registry = registry or CollectorRegistry()
    app = Service(
        title=f"SKIM {name}",
        description=description,
        version=version("skim"),
        lifespan=lifespan,
        responses=PROBLEM_RESPONSES,
        docs_url=None,  # these pages run scripts of a CDN; /openapi.json is the documentation
        redoc_url=None,
    )
    app.state.registry = registry
    app.state.is_stopping = False
    app.state.access = None
    problems.install(app)
    app.add_middleware(BodyLimit, max_body_bytes=max_body_bytes, is_stream=is_stream)
    app.add_middleware(PlainBodies)
    app.add_middleware(AccessControl)
    app.add_middleware(RequestContext, metrics=HttpMetrics(registry))

    @app.get("/livez", tags=["operations"])
    async def livez() -> dict[str, str]:
        """Say that the process runs."""
        return {"status": "alive", "service": name}

    @app.get("/readyz", tags=["operations"])
    async def readyz() -> dict[str, str]:
        """Say that the next request will be answered; 503 names what is missing."""
        if app.state.is_stopping:
            raise Unavailable("the service is stopping")
        await check_ready(app)
        return {"status": "ready", "service": name}

    # in a thread: a service's collectors may ask what they stand before
    @app.get("/metrics", tags=["operations"], response_class=PlainTextResponse)
    def metrics() -> Response:
        """Give the metrics in Prometheus's text format."""
        return Response(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)

    return app
