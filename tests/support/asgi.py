"""Requests to an application in process whose client can leave before the answer is there."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI

PATIENCE_SECONDS = 20.0


class Call:
    """One request under way. Await `task` for its end.

    Args:
        app: with its lifespan begun (`started`).
        path: asked with POST if there is a body, else with GET.
        body: sent as JSON; bytes are sent as they are, and more may follow until `end`.
        headers: beside the content type.
        query: what follows the path's question mark.
    """

    def __init__(
        self,
        app: FastAPI,
        path: str,
        body: object = None,
        headers: Mapping[str, str] | None = None,
        query: str = "",
    ) -> None:
        self.status = 0
        self.headers: dict[str, str] = {}
        self.chunks: list[bytes] = []
        is_stream = isinstance(body, bytes)
        content = body if is_stream else b"" if body is None else json.dumps(body).encode()
        self._messages: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._messages.put_nowait(
            {"type": "http.request", "body": content, "more_body": is_stream}
        )
        sent = {"content-type": "application/json", **(headers or {})}
        scope = {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": "1.1",
            "method": "GET" if body is None else "POST",
            "scheme": "http",
            "path": path,
            "raw_path": path.encode(),
            "query_string": query.encode(),
            "root_path": "",
            "headers": [(name.encode(), value.encode()) for name, value in sent.items()],
            "client": ("127.0.0.1", 1),
            "server": ("127.0.0.1", 2),
        }
        self.task = asyncio.ensure_future(app(scope, self._receive, self._send))

    @property
    def text(self) -> str:
        """What has been answered so far."""
        return b"".join(self.chunks).decode()

    @property
    def lines(self) -> list[Any]:
        """The lines of NDJSON answered so far."""
        return [json.loads(line) for line in self.text.splitlines()]

    def leave(self) -> None:
        """Close the connection, as the application sees it."""
        self._messages.put_nowait({"type": "http.disconnect"})

    def end(self) -> None:
        """Say that no more of the body follows."""
        self._messages.put_nowait({"type": "http.request", "body": b"", "more_body": False})

    async def _receive(self) -> dict[str, Any]:
        message = await self._messages.get()
        if message["type"] == "http.disconnect":
            self.leave()  # it stays so
        return message

    async def _send(self, message: Mapping[str, Any]) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self.headers = {name.decode(): each.decode() for name, each in message["headers"]}
        elif message.get("body"):
            self.chunks.append(message["body"])


@asynccontextmanager
async def started(app: FastAPI) -> AsyncIterator[None]:
    """Run the application's lifespan around the body, and the body no longer than patience lasts."""
    async with asyncio.timeout(PATIENCE_SECONDS), app.router.lifespan_context(app):
        yield


async def until(is_so: Callable[[], object]) -> None:
    """Let others work until something is so; `started` bounds the wait.

    It looks a thousand times a second: a loop that never rests holds the interpreter, and the decoding
    thread gets it back only every 5 ms.
    """
    while not is_so():
        await asyncio.sleep(0.001)
