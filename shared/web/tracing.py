"""Every request as a span, where traces are on; else an application is as it was."""

from __future__ import annotations

import sys

from fastapi import FastAPI
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from shared import tracing
from shared.errors import InvalidInput
from shared.settings import CommonSettings

_UNINTERESTING = {"/livez", "/readyz", "/metrics"}


def trace(app: FastAPI) -> None:
    """Trace `app`'s requests if there is somewhere to send traces to; exit with 1 and one line if that cannot be."""
    try:
        is_on = tracing.start(app.title.removeprefix("SKIM "), CommonSettings().traces_endpoint)
    except InvalidInput as error:
        sys.stderr.write(f"{app.title}: {error}\n")
        raise SystemExit(1) from error
    if is_on:
        app.add_middleware(TraceRequests)


class TraceRequests:
    """Continues the caller's trace (`traceparent`) or begins one; notes route and status, no query string."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one ASGI scope."""
        if scope["type"] != "http" or scope["path"] in _UNINTERESTING:
            await self._app(scope, receive, send)
            return
        method = scope["method"]
        given = {
            name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]
        }
        status, request_id = 500, ""

        async def _send(message: Message) -> None:
            nonlocal status, request_id
            if message["type"] == "http.response.start":
                status = message["status"]
                request_id = dict(message.get("headers", [])).get(b"x-request-id", b"").decode()
            await send(message)

        with tracing.span(method, "SERVER", parent=given, http__request__method=method) as request:
            try:
                await self._app(scope, receive, _send)
            finally:
                route = getattr(scope.get("route"), "path", "unmatched")
                request.rename(f"{method} {route}")
                request.tell(
                    http__route=route,
                    http__response__status_code=status,
                    skim__request_id=request_id,
                )
                if status >= 500:
                    request.fail(f"HTTP {status}")
