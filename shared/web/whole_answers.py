"""HTTP as uvicorn speaks it, but for one thing: the head of an answer leaves with its body."""

from __future__ import annotations

import asyncio
from typing import Any, cast

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol


class WholeAnswers(HttpToolsProtocol):
    """Sends an answer as one packet where uvicorn sends two: one call of the system less, and the reader wakes once."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin to speak over a connection."""
        held = HeadWithBody(cast(asyncio.Transport, transport), self.loop)
        super().connection_made(cast(asyncio.Transport, held))


class HeadWithBody:
    """A connection that holds the head of an answer back until what follows, or to the end of the event loop's turn.

    Args:
        transport: sends; whatever else is asked of it goes there.
        loop: of the connection.
    """

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport, self._loop = transport, loop
        self._head = b""

    def write(self, data: bytes) -> None:
        """Send what is no head, after the head."""
        if self._head:
            data, self._head = self._head + data, b""
        elif data.startswith(b"HTTP/") and data.endswith(b"\r\n\r\n"):
            self._head = data
            self._loop.call_soon(self._flush)
            return
        self._transport.write(data)

    def close(self) -> None:
        """Close, once all is sent."""
        self._flush()
        self._transport.close()

    def _flush(self) -> None:
        if self._head:
            self._transport.write(self._head)
            self._head = b""

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401  (as the transport has it)
        return getattr(self._transport, name)
