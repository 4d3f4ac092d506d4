"""Pure ASGI middleware: request ids, headers, metrics, the body limit (BaseHTTPMiddleware costs half the throughput)."""

from __future__ import annotations

import random
import re
import time
from collections.abc import Callable

import structlog
from fastapi import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from shared.errors import TooLarge, UnsupportedMedia
from shared.telemetry import HttpMetrics
from shared.web.problems import problem_of, unexpected

_REQUEST_ID = re.compile(rb"^[A-Za-z0-9._-]{1,128}$")
_METHODS = {"GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE"}
_PLAIN = b"identity"
_REQUEST_IDS = random.Random()
"""No secrets. The system's source of randomness lets go of the interpreter, which a thread of work then takes."""
_REQUEST_ID_KEY = "skim.request_id"
SECURITY_HEADERS = {
    b"cache-control": b"no-store",
    b"content-security-policy": b"default-src 'none'; frame-ancestors 'none'",
    b"cross-origin-resource-policy": b"same-origin",
    b"referrer-policy": b"no-referrer",
    b"x-content-type-options": b"nosniff",
}
"""Of every answer that says nothing else itself."""
_SECURITY_HEADERS = tuple(SECURITY_HEADERS.items())


def request_id_of(scope: Scope) -> str:
    """Return the id of a request that came through `RequestContext`, else nothing."""
    return str(scope.get(_REQUEST_ID_KEY, ""))


class RequestContext:
    """Gives each request an id (the caller's `X-Request-ID` if it is sane), counts and times it.

    Every answer leaves through here, that of an error nobody foresaw too.
    """

    def __init__(self, app: ASGIApp, metrics: HttpMetrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one ASGI scope."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        given = dict(scope["headers"]).get(b"x-request-id", b"")
        name = (
            given.decode() if _REQUEST_ID.match(given) else f"{_REQUEST_IDS.getrandbits(128):032x}"
        )
        scope[_REQUEST_ID_KEY] = name
        structlog.contextvars.clear_contextvars()
        structlog.contextvars.bind_contextvars(request_id=name)
        started = time.perf_counter()
        status = 0

        async def _send(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = message.setdefault("headers", [])
                said = dict(headers)
                headers += [each for each in _SECURITY_HEADERS if each[0] not in said]
                headers.append((b"x-request-id", name.encode()))
            await send(message)

        try:
            await self._app(scope, receive, _send)
        except Exception as error:
            if status:  # too late for another answer: the server breaks the connection off
                raise
            await unexpected(scope["path"], error)(scope, receive, _send)
        finally:
            route = getattr(scope.get("route"), "path", "unmatched")
            method = scope["method"] if scope["method"] in _METHODS else "other"
            self._metrics.observe(route, method, status or 500, time.perf_counter() - started)


class PlainBodies:
    """Refuses a packed body with 415: what it unpacks to nobody has declared."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one ASGI scope."""
        packed = (
            scope["type"] == "http"
            and dict(scope["headers"]).get(b"content-encoding", _PLAIN) != _PLAIN
        )
        if packed:
            error = UnsupportedMedia("send the body as it is, without Content-Encoding")
            await problem_of(error)(scope, receive, send)
            return
        await self._app(scope, receive, send)


class BodyLimit:
    """Refuses a body past the limit with 413, by its declared length or while it streams in."""

    def __init__(
        self, app: ASGIApp, max_body_bytes: int, is_stream: Callable[[Scope], bool]
    ) -> None:
        self._app = app
        self._max_body_bytes = max_body_bytes
        self._is_stream = is_stream

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one ASGI scope."""
        if scope["type"] != "http" or self._is_stream(scope):
            await self._app(scope, receive, send)
            return
        declared = dict(scope["headers"]).get(b"content-length", b"0")
        if declared.isdigit() and int(declared) > self._max_body_bytes:
            error = TooLarge(f"the request body is larger than {self._max_body_bytes} bytes")
            await problem_of(error)(scope, receive, send)
            return
        received = 0

        async def _receive() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > self._max_body_bytes:  # FastAPI lets its own exception through
                raise HTTPException(
                    413, f"the request body is larger than {self._max_body_bytes} bytes"
                )
            return message

        await self._app(scope, _receive, send)
