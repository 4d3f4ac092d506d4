"""Run an application under uvicorn: one process, no access log (metrics say it), a free port or a clear error."""

from __future__ import annotations

import socket
import sys
from types import FrameType

import uvicorn
from fastapi import FastAPI

from shared.telemetry import configure_logging
from shared.web.tracing import trace


def serve(app: FastAPI, *, host: str, port: int, log_level: str) -> None:
    """Serve `app` until it is told to stop; exit with 1 and one line if the port is taken."""
    configure_logging(log_level)
    trace(app)
    listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError as error:
        sys.stderr.write(f"{app.title}: cannot listen on {host}:{port}: {error.strerror}\n")
        raise SystemExit(1) from error
    Server(app).run(sockets=[listener])


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
            )
        )
        self._app = app

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Begin to stop; who asks over a connection that is still open hears it from `/readyz`."""
        self._app.state.is_stopping = True
        super().handle_exit(sig, frame)
