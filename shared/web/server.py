"""Run an application under uvicorn: one process, no access log (metrics say it), guarded, a free port or a clear error."""

from __future__ import annotations

import socket
import sys
from types import FrameType
from typing import NoReturn

import uvicorn
from fastapi import FastAPI

from shared.errors import InvalidInput
from shared.settings import CommonSettings
from shared.telemetry import configure_logging
from shared.web.access import LoopbackOnly, access_of, is_loopback
from shared.web.tracing import trace
from shared.web.whole_answers import WholeAnswers


def serve(app: FastAPI, *, host: str, port: int, log_level: str) -> None:
    """Serve `app` until it is told to stop; exit with 1 and one line if it may not or cannot listen.

    Who may come in is read from the environment here, so that no process can forget to ask.
    """
    configure_logging(log_level)
    try:
        app.state.access = access_of(CommonSettings())
    except InvalidInput as error:
        _refuse(app, str(error))
    trace(app)
    listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError as error:
        _refuse(app, f"cannot listen on {host}:{port}: {error.strerror}")
    if isinstance(app.state.access, LoopbackOnly) and not is_loopback(listener.getsockname()[0]):
        listener.close()
        _refuse(
            app, f"SKIM_AUTH is off, so it may listen on a loopback address only, not on {host}"
        )
    Server(app).run(sockets=[listener])


def _refuse(app: FastAPI, reason: str) -> NoReturn:
    sys.stderr.write(f"{app.title}: {reason}\n")
    raise SystemExit(1)


class Server(uvicorn.Server):
    """Told to stop, it takes no new connection and lets running requests finish, within 20 seconds."""

    def __init__(self, app: FastAPI) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                log_config=None,
                log_level="warning",
                access_log=False,
                timeout_graceful_shutdown=20,
                # A stall must not end connections on which a request waits already (hnswlib reads a large index
                # without letting go of the interpreter: 5 seconds for a million train queries).
                timeout_keep_alive=75,
                http=WholeAnswers,
                ws="none",
                proxy_headers=False,  # else whoever is on this machine may choose its address
                server_header=False,
            )
        )
        self._app = app
        app.state.connections = self.server_state.connections

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Begin to stop; who asks over a connection that is still open hears it from `/readyz`."""
        self._app.state.is_stopping = True
        super().handle_exit(sig, frame)


def open_connections(app: FastAPI) -> int:
    """Return how many connections a server that `serve` began holds open for `app`; 0 without one."""
    return len(getattr(app.state, "connections", ()))
