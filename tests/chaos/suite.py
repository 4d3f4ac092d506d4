"""The suite of one row: its own Valkey, services, worker and sweeper, in a folder, on free loopback ports."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self

import redis

from services.cli.processes import ProcessId, identify, kill, marked, send, wait_until
from shared.clients import AugmentationClient, ServiceClient
from shared.errors import SkimError, Unavailable
from shared.store import RedisStore, keys
from shared.store.address import RedisAddress
from shared.store.server import RedisServer
from tests.chaos.services import MARK

QUEUE = "augmentation"
START_SECONDS = 40.0
_ROOT = Path(__file__).parents[2]
_SETTINGS = {
    # Time runs faster here: what a default suite does in minutes, this one does in seconds.
    "SKIM_AUGMENTATION_BATCH_SIZE": "8",
    "SKIM_AUGMENTATION_TASK_SECONDS": "15",
    "SKIM_AUGMENTATION_LEASE_SECONDS": "3",
    "SKIM_AUGMENTATION_QUEUE_SECONDS": "10",
    "SKIM_AUGMENTATION_SWEEP_SECONDS": "0.5",
    "SKIM_REQUEST_TIMEOUT_SECONDS": "6",
    "REMAP_SIGTERM": "SIGQUIT",
}


class Part:
    """A process that is started again when it has died, unless it is meant to be down."""

    def __init__(
        self, name: str, command: list[str], folder: Path, environment: dict[str, str]
    ) -> None:
        self.name = name
        self._command = command
        self._log = folder / f"{name}.log"
        self._environment = environment
        self._process: subprocess.Popen[bytes] | None = None
        self.is_wanted = False
        self.deaths = 0

    def start(self) -> None:
        """Start it in a group of its own."""
        self.is_wanted = True
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(  # noqa: S603  (our own command)
                self._command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=_ROOT,
                env=self._environment,
                start_new_session=True,
            )

    def keep(self) -> None:
        """Start it again if it died by itself."""
        if self.is_wanted and (self._process is None or self._process.poll() is not None):
            self.deaths += 1
            self.start()

    def kill(self) -> None:
        """End the process and all of its group at once."""
        self.is_wanted = False
        if self._process is not None:
            if self._process.poll() is None:
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._process = None

    def terminate(self, seconds: float) -> None:
        """Ask it to end, and end it if it does not in time."""
        if self._process is not None and self._process.poll() is None:
            self.is_wanted = False
            self._process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(seconds)
        self.kill()

    def children(self) -> list[ProcessId]:
        """Return the processes that its process started."""
        if self._process is None:
            return []
        pid = self._process.pid
        try:
            text = Path(f"/proc/{pid}/task/{pid}/children").read_text()
        except OSError:
            return []
        found = [identify(int(child)) for child in text.split()]
        return [each for each in found if each is not None]


class Server(Protocol):
    """Redis, whatever stands behind its URL."""

    url: str

    def start(self) -> None:
        """Start it."""

    def stop(self) -> None:
        """Let it write what it has and end."""

    def kill(self) -> None:
        """End it at once."""


class Suite:
    """All processes of a row.

    Args:
        folder: of data and logs.
        apis: how many processes of the augmentation service.
        sweepers: how many of the sweeper.
        pace_seconds: a document takes to be written.
        server: of Redis; one of its own if absent.
        environment: more variables of all processes but Redis.
    """

    def __init__(
        self,
        folder: Path,
        *,
        apis: int = 1,
        sweepers: int = 1,
        pace_seconds: float = 0.03,
        server: Server | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.mark = uuid.uuid4().hex
        self.redis: Server = server or RedisServer(folder / "redis")
        self.folder = folder
        generation, mapping, *api_ports = (_free_port() for _ in range(2 + apis))
        urls = {
            "SKIM_GENERATION_URL": f"http://127.0.0.1:{generation}",
            "SKIM_MAPPING_URL": f"http://127.0.0.1:{mapping}",
            "SKIM_AUGMENTATION_URL": f"http://127.0.0.1:{api_ports[0]}",
        }
        self._environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("SKIM_")},
            "SKIM_AUTH": "off",
            **_SETTINGS,
            **urls,
            "SKIM_HOME": str(folder),
            "SKIM_REDIS_URL": self.redis.url,
            "SKIM_CHAOS_SECONDS": str(pace_seconds),
            "PYTHONPATH": str(_ROOT),
            MARK: self.mark,
            **(environment or {}),
        }
        stand_in = ["-m", "tests.chaos.services"]
        self.generation = self._part("generation", *stand_in, "generation", str(generation))
        self.mapping = self._part("mapping", *stand_in, "mapping", str(mapping))
        self.worker = self._part(
            "worker", "-m", "celery", "-A", "services.augmentation.tasks", "worker"
        )
        self.sweepers = [
            self._part(f"sweeper-{number}", "-m", "services.augmentation.sweeper")
            for number in range(sweepers)
        ]
        self.apis = [
            self._part(f"api-{port}", "-m", "services.augmentation", port=port)
            for port in api_ports
        ]
        self.api_urls = [f"http://127.0.0.1:{port}" for port in api_ports]
        self._probes = [urls["SKIM_GENERATION_URL"], urls["SKIM_MAPPING_URL"], *self.api_urls]
        address = RedisAddress.of(self.redis.url)
        self.client = address.client(retries=20, timeout_seconds=5.0)
        self.store = RedisStore.at(self.redis.url, retries=20)

    def _part(self, name: str, *command: str, port: int = 0) -> Part:
        environment = {**self._environment}
        if port:
            environment["SKIM_AUGMENTATION_PORT"] = str(port)
        return Part(name, [sys.executable, *command], self.folder, environment)

    @property
    def parts(self) -> list[Part]:
        """All but Redis."""
        return [self.generation, self.mapping, self.worker, *self.sweepers, *self.apis]

    def __enter__(self) -> Self:
        self.redis.start()
        try:
            for part in self.parts:
                part.start()
            self.until(self._is_up, START_SECONDS, "the suite did not start")
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for part in self.parts:
            part.kill()
        kill(marked(f"{MARK}={self.mark}"))
        self.client.close()
        self.redis.stop()

    def _is_up(self) -> bool:
        """Whether all services are ready, and labels follow the mapping: before any document is there."""
        return all(map(_is_ready, self._probes)) and self.store.followed() is not None

    def until(self, is_so: Callable[[], bool], seconds: float, otherwise: str) -> None:
        """Keep the processes alive until something is so.

        Raises:
            Unavailable: it is not in time.
        """

        def look() -> bool:
            self.keep()
            return is_so()

        if not wait_until(look, seconds):
            raise Unavailable(f"{otherwise} in {seconds:.0f} s; logs are in {self.folder}")

    def keep(self) -> None:
        """Start again what died by itself, as `skim up` does."""
        for part in self.parts:
            part.keep()

    def rest(self, seconds: float) -> None:
        """Let time pass while processes are kept alive."""
        ends = time.monotonic() + seconds
        while time.monotonic() < ends:
            self.keep()
            time.sleep(0.05)

    def is_busy(self) -> bool:
        """Whether a worker has documents in its hands."""
        try:
            tries: Any = self.client.hvals(keys.TRIES)
        except redis.RedisError:
            return False
        return any('"owner":""' not in each for each in tries)

    def until_busy(self) -> bool:
        """Wait until a fault would hurt; False after a while, since all may be done."""
        return wait_until(lambda: self.keep() or self.is_busy(), 8.0)

    def kill_a_child(self) -> None:
        """SIGKILL one of the worker's pool processes."""
        children = self.worker.children()
        if children:
            send(random.choice(children), signal.SIGKILL)

    def api(self, number: int = 0) -> AugmentationClient:
        """Return a client of one of the augmentation service's processes."""
        url = self.api_urls[number % len(self.api_urls)]
        return AugmentationClient(url, timeout_seconds=8.0, attempts=1)


def _is_ready(url: str) -> bool:
    with ServiceClient(url, attempts=1) as client:
        try:
            return client.is_ready()
        except SkimError:
            return False


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])
