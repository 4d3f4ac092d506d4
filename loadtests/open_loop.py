"""Open loop: requests are sent when their moment comes, whatever is still on its way, as users do who know nothing of each other.

A latency counts from the moment a request was due, so that a server that stalls is not spared. One thread, raw sockets.
"""

from __future__ import annotations

import itertools
import selectors
import socket
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from loadtests.arrivals import poisson
from loadtests.closed_loop import is_whole

_GRACE_SECONDS = 5.0
_MOST_CONNECTIONS = 512


@dataclass
class OpenLoad:
    """What was seen."""

    seconds: float = 0.0
    latencies_ms: list[float] = field(default_factory=list)
    """Of the answers with status 200, from when they were due."""
    answered_at: list[float] = field(default_factory=list)
    """Seconds since the start at which each of these was there."""
    refusals_ms: list[float] = field(default_factory=list)
    """Of the answers with status 503, from when they were sent."""
    errors: int = 0
    """Other answers, broken connections, and what never came."""

    @property
    def goodput(self) -> float:
        """Return the answers with status 200 a second, without those that were still to come when the load ended."""
        if not self.seconds:
            return 0.0
        return sum(moment <= self.seconds for moment in self.answered_at) / self.seconds


@dataclass
class _Connection:
    socket: socket.socket
    due: float = 0.0
    sent: float = 0.0
    received: bytes = b""


def run(
    address: tuple[str, int],
    requests: Sequence[bytes],
    *,
    per_second: float,
    seconds: float,
    seed: int = 0,
    halfway: Callable[[], None] | None = None,
) -> OpenLoad:
    """Send `requests` in turn at the moments of a Poisson process.

    Args:
        address: of the service.
        requests: whole requests that keep their connection.
        per_second: mean rate.
        seconds: how long.
        seed: of the moments.
        halfway: called once, at half of the time; it must return at once.
    """
    due = poisson(round(per_second * seconds), per_second=per_second, seed=seed)
    load, bodies = OpenLoad(seconds=seconds), itertools.cycle(requests)
    free: list[_Connection] = []
    with selectors.DefaultSelector() as selector:
        started, next_due = time.perf_counter(), 0
        while next_due < len(due) or selector.get_map():
            now = time.perf_counter() - started
            if halfway is not None and now >= seconds / 2:
                halfway()
                halfway = None
            while next_due < len(due) and due[next_due] <= now:
                busy = len(selector.get_map())
                if free or busy < _MOST_CONNECTIONS:
                    connection = free.pop() if free else _opened(address)
                    _send(connection, next(bodies), started + due[next_due], selector)
                else:
                    load.errors += 1
                next_due += 1
            if next_due == len(due) and now > seconds + _GRACE_SECONDS:
                break
            wait = due[next_due] - now if next_due < len(due) else 0.1
            for key, _ in selector.select(max(0.0, wait)):
                _receive(key.data, load, started, free, selector)
        load.errors += len(selector.get_map())
        for key in list(selector.get_map().values()):
            key.data.socket.close()
    for connection in free:
        connection.socket.close()
    return load


def _opened(address: tuple[str, int]) -> _Connection:
    opened = socket.create_connection(address, 5.0)
    opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return _Connection(opened)


def _send(
    connection: _Connection, request: bytes, due: float, selector: selectors.BaseSelector
) -> None:
    connection.due, connection.sent, connection.received = due, time.perf_counter(), b""
    selector.register(connection.socket, selectors.EVENT_READ, connection)
    with suppress(OSError):  # reading says so
        connection.socket.sendall(request)


def _receive(
    connection: _Connection,
    load: OpenLoad,
    started: float,
    free: list[_Connection],
    selector: selectors.BaseSelector,
) -> None:
    try:
        received = connection.socket.recv(65_536)
    except OSError:
        received = b""
    connection.received += received
    if received and not is_whole(connection.received):
        return
    now = time.perf_counter()
    selector.unregister(connection.socket)
    if not received:
        load.errors += 1
        connection.socket.close()
        return
    if connection.received.startswith(b"HTTP/1.1 200"):
        load.latencies_ms.append((now - connection.due) * 1000)
        load.answered_at.append(now - started)
    elif connection.received.startswith(b"HTTP/1.1 503"):
        load.refusals_ms.append((now - connection.sent) * 1000)
    else:
        load.errors += 1
    free.append(connection)
