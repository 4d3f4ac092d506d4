"""`GET /v1/ads` past the framework: FastAPI's own work on a request costs a third of what answering it does.

What is plainly valid is answered here. All else, and every other request, goes on to the routes: they say what is wrong, and
they are what the OpenAPI document is made from.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from urllib.parse import unquote_plus

from pydantic import ValidationError
from starlette.types import ASGIApp, Receive, Scope, Send

from services.inference.admission import ClientLeft
from services.inference.routes.answering import AdsParameters, Answering
from services.inference.serving import Serving
from shared.errors import SkimError
from shared.web import open_connections
from shared.web.middleware import request_id_of
from shared.web.problems import problem_of

ADS = "/v1/ads"
CLIENT_LEFT = 499
"""nginx's status for a client that is gone; nobody reads it."""
_JSON = (b"content-type", b"application/json")


@dataclass(frozen=True)
class _Route:
    """What metrics and traces call a request of the lane."""

    path: str = ADS


_ROUTE = _Route()


class AdsLane:
    """Middleware that answers `GET /v1/ads`, inside of what counts, admits and limits requests.

    Args:
        app: takes what is not answered here.
        serving: of the service.
        answering: of its queries.
    """

    def __init__(self, app: ASGIApp, serving: Serving, answering: Answering) -> None:
        self._app, self._serving, self._answering = app, serving, answering

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one ASGI scope."""
        if scope["type"] != "http" or scope["path"] != ADS or scope["method"] != "GET":
            await self._app(scope, receive, send)
            return
        asked = _asked_of(scope["query_string"])
        if asked is None:
            await self._app(scope, receive, send)
            return
        scope["route"] = _ROUTE
        try:
            answer = await self._answering.one(
                asked,
                request_id_of(scope),
                leaving(receive),
                alone=open_connections(scope["app"]) == 1,
            )
        except SkimError as error:
            await problem_of(error)(scope, receive, send)
            return
        except ClientLeft:
            await send({"type": "http.response.start", "status": CLIENT_LEFT, "headers": []})
            await send({"type": "http.response.body", "body": b""})
            return
        headers = [
            (b"content-length", b"%d" % len(answer.body)),
            _JSON,
            (b"server-timing", answer.timing.encode()),
        ]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": answer.body})


def leaving(receive: Receive) -> Callable[[], Awaitable[object]]:
    """Return what returns once the client has left."""

    async def _until_gone() -> None:
        while (await receive())["type"] != "http.disconnect":
            pass

    return _until_gone


def _asked_of(query_string: bytes) -> AdsParameters | None:
    """Return the parameters as the routes would read them; None if something is wrong with them."""
    try:
        return AdsParameters.model_validate(_pairs_of(query_string.decode("latin-1")))
    except ValidationError:
        return None


def _pairs_of(query_string: str) -> dict[str, str]:
    """Return what `parse_qsl` would, blank values too, at half the price; the last of a name counts."""
    pairs = {}
    for each in query_string.split("&"):
        if each:
            name, _, value = each.partition("=")
            pairs[unquote_plus(name)] = unquote_plus(value)
    return pairs
