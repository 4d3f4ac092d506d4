"""Run one of our services as a process of its own, on a free loopback port and a home of its own."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from shared.errors import Unavailable

HOST = "127.0.0.1"


@dataclass(frozen=True)
class Service:
    """A service that runs."""

    host: str
    port: int
    pid: int

    @property
    def address(self) -> tuple[str, int]:
        """Where it listens."""
        return self.host, self.port

    @property
    def url(self) -> str:
        """Where it answers."""
        return f"http://{self.host}:{self.port}"

    def resident_bytes(self) -> int:
        """Return how much memory the process has now."""
        return resident_bytes(self.pid)

    def cpu_seconds(self) -> float:
        """Return how long the process has worked so far."""
        fields = (
            Path(f"/proc/{self.pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
        )
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def resident_bytes(pid: int) -> int:
    """Return how much memory a process has now."""
    fields = Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()
    return int(fields[1]) * os.sysconf("SC_PAGE_SIZE")


@contextmanager
def running(
    name: str,
    home: Path,
    *,
    start_seconds: float = 60.0,
    environment: Mapping[str, str] | None = None,
) -> Iterator[tuple[str, int]]:
    """Start `services.NAME` as `started` does, and give its address."""
    with started(name, home, start_seconds=start_seconds, environment=environment) as service:
        yield service.address


@contextmanager
def started(
    name: str,
    home: Path,
    *,
    start_seconds: float = 60.0,
    environment: Mapping[str, str] | None = None,
) -> Iterator[Service]:
    """Start `services.NAME`, give it once it is ready, stop it at the end.

    It asks for no key and limits nobody: what it can do is what is measured.

    Args:
        name: folder of the service.
        home: its SKIM_HOME.
        start_seconds: how long it may take to be ready.
        environment: more variables.

    Raises:
        Unavailable: it stopped or was not ready in time; the message has its last words.
    """
    port = _free_port()
    prefix = f"SKIM_{name.upper()}"
    variables = {
        key: value for key, value in os.environ.items() if not key.startswith(f"{prefix}_")
    } | {
        "SKIM_HOME": str(home),
        "SKIM_AUTH": "off",
        "SKIM_REQUESTS_PER_SECOND": "1e9",
        f"{prefix}_HOST": HOST,
        f"{prefix}_PORT": str(port),
    }
    log = home / f"{name}.log"
    with log.open("wb") as out:
        process = subprocess.Popen(  # noqa: S603
            [sys.executable, "-m", f"services.{name}"],
            env=variables | dict(environment or {}),
            stdout=out,
            stderr=subprocess.STDOUT,
        )
    try:
        _wait_until_ready(process, port, log, start_seconds)
        yield Service(HOST, port, process.pid)
    finally:
        process.terminate()
        try:
            process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait_until_ready(
    process: subprocess.Popen[bytes], port: int, log: Path, start_seconds: float
) -> None:
    ends = time.monotonic() + start_seconds
    answer = "no answer"
    while time.monotonic() < ends and process.poll() is None:
        try:
            ready = httpx.get(f"http://{HOST}:{port}/readyz", timeout=2.0, trust_env=False)
        except httpx.HTTPError:
            time.sleep(0.1)
            continue
        if ready.is_success:
            return
        answer = ready.text
        time.sleep(0.1)
    said = log.read_text(errors="replace").strip().splitlines()[-3:]
    raise Unavailable(f"the service was not ready: {answer}; it said: {' / '.join(said)}")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
        return port
