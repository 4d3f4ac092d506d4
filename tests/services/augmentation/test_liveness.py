import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from services.augmentation.liveness import Liveness
from services.cli.components import _worker_probe
from services.cli.processes import wait_until
from shared.errors import Unavailable
from shared.store.server import RedisServer

REPOSITORY = Path(__file__).resolve().parents[3]


class Clock:
    at = 0.0
    is_redis_away = False

    def now(self) -> float:
        return self.at

    def check(self) -> None:
        if self.is_redis_away:
            raise Unavailable("away")


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def liveness(clock: Clock) -> Liveness:
    return Liveness(clock.check, seconds=60, now=clock.now)


def test_a_loop_that_turns_is_alive(clock: Clock, liveness: Liveness) -> None:
    clock.at = 1_000
    liveness.turn()
    clock.at = 1_060

    assert liveness.why_not() == ""
    assert liveness.silent_seconds() == 60


def test_a_loop_that_is_silent_for_too_long_hangs(clock: Clock, liveness: Liveness) -> None:
    clock.at = 61

    assert liveness.why_not() == "the worker's loop makes no rounds since 61 seconds"
    liveness.turn()
    assert liveness.why_not() == ""


def test_who_waits_for_redis_does_not_hang_and_may_take_its_time_afterwards(
    clock: Clock, liveness: Liveness
) -> None:
    clock.is_redis_away = True
    clock.at = 600
    assert liveness.why_not() == ""

    clock.is_redis_away = False
    clock.at = 660
    assert liveness.why_not() == ""
    clock.at = 661
    assert liveness.why_not() == "the worker's loop makes no rounds since 661 seconds"


@pytest.fixture
def port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


@pytest.fixture
def hang(tmp_path: Path, redis_server: RedisServer, port: int) -> Iterator[Path]:
    """A file that hangs the main loop of a real worker while it is there."""
    file = tmp_path / "hang"
    environment = os.environ | {
        "SKIM_REDIS_URL": redis_server.url,
        "SKIM_AUGMENTATION_METRICS_PORT": str(port),
        "SKIM_AUGMENTATION_WORKERS": "1",
        "SKIM_AUGMENTATION_WORKER_SILENT_SECONDS": "5",
        "SKIM_HOME": str(tmp_path),
        "SKIM_HANG": str(file),
    }
    command = [sys.executable, "-m", "celery", "-A", "tests.support.hanging_worker", "worker"]
    with (tmp_path / "log").open("wb") as log:
        worker = subprocess.Popen(  # noqa: S603  (our own command)
            command, env=environment, cwd=REPOSITORY, stdout=log, stderr=log
        )
    try:
        yield file
    finally:
        file.unlink(missing_ok=True)
        worker.terminate()
        worker.wait()


def test_a_worker_that_hangs_is_noticed(hang: Path, port: int) -> None:
    def is_live() -> bool:
        try:
            return httpx.get(f"http://127.0.0.1:{port}/livez", trust_env=False).is_success
        except httpx.ConnectError:
            return False

    probe = _worker_probe("127.0.0.1", port)
    assert probe is not None
    assert probe() is None  # no page yet
    assert wait_until(is_live, 60)

    hang.touch()
    assert wait_until(lambda: "makes no rounds" in (probe() or ""), 30)
    assert not is_live()

    hang.unlink()
    assert wait_until(is_live, 30)
    assert probe() is None


def test_a_worker_without_a_page_is_not_asked() -> None:
    assert _worker_probe("127.0.0.1", 0) is None
