"""A load generator that costs little: prepared requests over raw keep-alive sockets, one thread.

Closed loop: each connection sends its next request when its answer is whole.
"""

from __future__ import annotations

import itertools
import re
import selectors
import socket
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from urllib.parse import urlencode

_CONTENT_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_TIMEOUT_SECONDS = 10.0


@dataclass
class Load:
    """What was seen."""

    seconds: float = 0.0
    latencies_ms: list[float] = field(default_factory=list)
    """Of the answers with status 200."""
    errors: int = 0
    """Answers with another status, broken connections and time-outs."""

    @property
    def requests_per_second(self) -> float:
        """Return the rate of answers with status 200."""
        return len(self.latencies_ms) / self.seconds if self.seconds else 0.0


def get_request(host: str, path: str, **params: str | int) -> bytes:
    """Return the bytes of a GET request that keeps its connection."""
    target = f"{path}?{urlencode(params)}" if params else path
    return f"GET {target} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode()


def run(
    address: tuple[str, int], requests: Sequence[bytes], *, connections: int, seconds: float
) -> Load:
    """Send `requests` in turn, over and over, for `seconds`; answers on the way then still count.

    Raises:
        OSError: nobody listens there.
    """
    return _ClosedLoop(address, requests, seconds).run(connections)


@dataclass
class _Connection:
    socket: socket.socket
    sent_at: float
    received: bytes = b""


class _ClosedLoop:
    def __init__(
        self, address: tuple[str, int], requests: Sequence[bytes], seconds: float
    ) -> None:
        self._address = address
        self._requests = itertools.cycle(requests)
        self._seconds = seconds
        self._selector = selectors.DefaultSelector()
        self._load = Load()

    def run(self, connections: int) -> Load:
        started = time.perf_counter()
        ends = started + self._seconds
        with self._selector:
            for _ in range(connections):
                self._open()
            while waiting := len(self._selector.get_map()):
                ready = self._selector.select(_TIMEOUT_SECONDS)
                if not ready:
                    self._load.errors += waiting
                    self._close_all()
                now = time.perf_counter()
                for key, _ in ready:
                    self._receive(key.data, now, is_over=now >= ends)
        self._load.seconds = time.perf_counter() - started
        return self._load

    def _open(self) -> None:
        opened = socket.create_connection(self._address, _TIMEOUT_SECONDS)
        opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection = _Connection(opened, sent_at=0.0)
        self._selector.register(opened, selectors.EVENT_READ, connection)
        self._send(connection)

    def _send(self, connection: _Connection) -> None:
        connection.received = b""
        connection.sent_at = time.perf_counter()
        connection.socket.sendall(next(self._requests))

    def _receive(self, connection: _Connection, now: float, *, is_over: bool) -> None:
        try:
            received = connection.socket.recv(65_536)
        except OSError:
            received = b""
        connection.received += received
        if received and not is_whole(connection.received):
            return
        if received and connection.received.startswith(b"HTTP/1.1 200"):
            self._load.latencies_ms.append((now - connection.sent_at) * 1000)
        else:
            self._load.errors += 1
        if received and not is_over:
            self._send(connection)
            return
        self._close(connection)
        if not is_over:
            self._open()

    def _close(self, connection: _Connection) -> None:
        self._selector.unregister(connection.socket)
        connection.socket.close()

    def _close_all(self) -> None:
        for key in list(self._selector.get_map().values()):
            self._close(key.data)


def is_whole(answer: bytes) -> bool:
    """Say whether an answer with a content length is all there."""
    head, blank, body = answer.partition(b"\r\n\r\n")
    length = _CONTENT_LENGTH.search(head)
    return bool(blank) and length is not None and len(body) >= int(length[1])
