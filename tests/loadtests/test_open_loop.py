import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from loadtests import open_loop
from loadtests.closed_loop import get_request
from tests.support.http_server import serving


class Handler(BaseHTTPRequestHandler):
    """Answers 200, /slow only after .3 seconds, but 503 to /full, and hangs up on /broken."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        if self.path == "/broken":
            self.close_connection = True
            return
        self.server.seen.append(self.path)
        time.sleep(0.3 if self.path == "/slow" else 0)
        self.send_response(503 if self.path == "/full" else 200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"ok")

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[ThreadingHTTPServer]:
    with serving(Handler) as server:
        yield server


def test_as_many_requests_are_sent_as_were_due_and_each_is_counted_once(
    server: ThreadingHTTPServer,
) -> None:
    called = []
    requests = [get_request("127.0.0.1", path) for path in ("/a", "/full", "/b")]
    load = open_loop.run(
        server.server_address,
        requests,
        per_second=300,
        seconds=0.2,
        halfway=lambda: called.append(len(server.seen)),
    )

    assert len(server.seen) == 60
    assert (len(load.latencies_ms), len(load.refusals_ms), load.errors) == (40, 20, 0)
    assert len(load.answered_at) == 40
    assert max(load.answered_at) < 5
    assert len(called) == 1
    assert 0 < called[0] < 60


def test_goodput_is_a_rate_of_what_was_answered_while_the_load_lasted() -> None:
    load = open_loop.OpenLoad(seconds=2.0, answered_at=[0.5, 1.9, 2.0, 2.1])

    assert load.goodput == 1.5


def test_what_is_answered_after_the_load_is_no_goodput(server: ThreadingHTTPServer) -> None:
    load = open_loop.run(
        server.server_address, [get_request("127.0.0.1", "/slow")], per_second=50, seconds=0.2
    )

    assert len(load.latencies_ms) == 10
    assert min(load.latencies_ms) >= 300
    assert load.goodput == 0


def test_a_connection_that_breaks_is_an_error(server: ThreadingHTTPServer) -> None:
    load = open_loop.run(
        server.server_address, [get_request("127.0.0.1", "/broken")], per_second=100, seconds=0.1
    )

    assert (len(load.latencies_ms), load.errors) == (0, 10)
