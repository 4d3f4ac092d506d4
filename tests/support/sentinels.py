"""Redis with a replica and a sentinel that promotes it: three processes on the loopback address."""

from __future__ import annotations

import socket
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import redis

from services.cli.processes import wait_until
from shared.errors import Unavailable
from shared.store.server import RedisServer, server_program

MASTER = "skim"
_CONFIGURATION = """
port {port}
bind 127.0.0.1
dir {folder}
sentinel monitor {master} 127.0.0.1 {master_port} 1
sentinel down-after-milliseconds {master} 3000
sentinel failover-timeout {master} 6000
"""


class WatchedRedis:
    """Two servers and one sentinel.

    Args:
        folder: of their data and logs.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.master = RedisServer(folder / "master")
        self.replica = RedisServer(
            folder / "replica", settings=["--replicaof", f"127.0.0.1 {self.master.port}"]
        )
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            self._port = int(listener.getsockname()[1])
        self.url = f"redis+sentinel://127.0.0.1:{self._port}/0?master={MASTER}"
        self._sentinel: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start all three and wait until the replica is one and the sentinel knows it."""
        self.master.start()
        self.replica.start()
        path = self._folder / "sentinel.conf"
        path.write_text(
            _CONFIGURATION.format(
                port=self._port,
                folder=self._folder,
                master=MASTER,
                master_port=self.master.port,
            )
        )
        with (self._folder / "sentinel.log").open("wb") as log:
            self._sentinel = subprocess.Popen(  # noqa: S603  (our own command line)
                [str(server_program()), str(path), "--sentinel"], stdout=log, stderr=log
            )
        self._until(lambda: self._state()["num-slaves"] == 1, "the sentinel sees no replica")
        self._until(lambda: self._is_replica(self.replica), "the replica is not up to date")

    def fail_over(self) -> None:
        """Kill the master, wait until the replica is the master, and let what was killed become its replica.

        What was acknowledged is replicated before: an asynchronous replica lacks the last writes else.
        """
        port = self._state()["port"]
        old, new = (
            (self.master, self.replica)
            if port == self.master.port
            else (self.replica, self.master)
        )
        with redis.Redis(port=port) as client:
            client.client_pause(10_000, all=False)
            self._until(lambda: client.wait(1, 1_000) == 1, "the replica does not keep up")
        old.kill()
        self._until(lambda: self._state()["port"] == new.port, "the replica was not promoted")
        old.start()
        self._until(lambda: self._is_replica(old), "the old master did not become a replica")

    def stop(self) -> None:
        """End all three."""
        if self._sentinel is not None:
            self._sentinel.terminate()
            self._sentinel.wait()
        self.replica.stop()
        self.master.stop()

    def kill(self) -> None:
        """End the master at once."""
        self.master.kill()

    def _state(self) -> dict[str, Any]:
        with redis.Redis(port=self._port, socket_timeout=1) as client:
            masters: Any = client.sentinel_masters()
        found: dict[str, Any] = masters[MASTER]
        return found

    @staticmethod
    def _is_replica(server: RedisServer) -> bool:
        with redis.Redis(port=server.port) as client:
            info: Any = client.info("replication")
        return bool(info["role"] == "slave" and info["master_link_status"] == "up")

    def _until(self, is_so: Callable[[], bool], otherwise: str) -> None:
        def look() -> bool:
            try:
                return is_so()
            except redis.RedisError:
                return False

        if not wait_until(look, 60.0):
            raise Unavailable(f"{otherwise}; logs are in {self._folder}")
