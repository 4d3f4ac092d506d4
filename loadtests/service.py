"""Run one of our services as a process of its own, on a free loopback port and a home of its own."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import httpx

from shared.errors import Unavailable

HOST = "127.0.0.1"


@contextmanager
def running(
    name: str,
    home: Path,
    *,
    start_seconds: float = 60.0,
    settings: Mapping[str, str] | None = None,
) -> Iterator[tuple[str, int]]:
    """Start `services.NAME`, give its address once it is ready, stop it at the end.

    Args:
        name: folder of the service.
        home: its SKIM_HOME.
        start_seconds: how long it may take to be ready.
        settings: further environment variables.

    Raises:
        Unavailable: it stopped or was not ready in time; the message has its last words.
    """
    port = _free_port()
    prefix = f"SKIM_{name.upper()}"
    environment = {
        key: value for key, value in os.environ.items() if not key.startswith(f"{prefix}_")
    } | {"SKIM_HOME": str(home), f"{prefix}_HOST": HOST, f"{prefix}_PORT": str(port)}
    environment |= settings or {}
    log = home / f"{name}.log"
    with log.open("wb") as out:
        process = subprocess.Popen(  # noqa: S603
            [sys.executable, "-m", f"services.{name}"],
            env=environment,
            stdout=out,
            stderr=subprocess.STDOUT,
        )
    try:
        _wait_until_ready(process, port, log, start_seconds)
        yield HOST, port
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
