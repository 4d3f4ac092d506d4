import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

import pytest
from prometheus_client import CollectorRegistry

from services.augmentation.tasks import app, augment_batch
from services.augmentation.worker_metrics import MeasuredTask, WorkerMetrics, WorkerPage
from services.cli.processes import wait_until
from shared.store.server import RedisServer

REPOSITORY = Path(__file__).resolve().parents[3]


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


@pytest.fixture
def read_page(redis_server: RedisServer, tmp_path: Path) -> Iterator[Callable[[], str]]:
    """A real worker's page, as text; empty before it is there."""
    port = free_port()
    environment = os.environ | {
        "SKIM_REDIS_URL": redis_server.url,
        "SKIM_AUGMENTATION_METRICS_PORT": str(port),
        "SKIM_AUGMENTATION_WORKERS": "1",
        "SKIM_HOME": str(tmp_path),
    }

    def read() -> str:
        try:
            with urlopen(f"http://127.0.0.1:{port}/metrics") as page:
                return str(page.read().decode())
        except URLError:
            return ""

    command = [sys.executable, "-m", "celery", "-A", "services.augmentation.tasks", "worker"]
    with (tmp_path / "log").open("wb") as log:
        worker = subprocess.Popen(  # noqa: S603  (our own command)
            command, env=environment, cwd=REPOSITORY, stdout=log, stderr=log
        )
    try:
        yield read
    finally:
        worker.terminate()
        worker.wait()


def test_a_worker_shows_what_became_of_its_tasks(
    read_page: Callable[[], str], redis_server: RedisServer
) -> None:
    with app.connection_for_write(redis_server.url) as connection:
        augment_batch.apply_async(("no-such-job", ["d1"]), connection=connection)
    ended = 'skim_worker_tasks_total{outcome="succeeded"} 1.0'

    assert wait_until(lambda: ended in read_page(), 60)
    assert "skim_worker_tasks_running 0.0" in read_page()
    assert "skim_worker_processes 1.0" in read_page()


def test_the_tasks_of_our_application_are_counted() -> None:
    assert isinstance(augment_batch, MeasuredTask)
    assert WorkerPage in app.steps["worker"]


def test_a_task_that_never_began_is_counted_and_not_timed() -> None:
    registry = CollectorRegistry()
    metrics = WorkerMetrics(registry)

    metrics.ended("requeued", None)

    assert registry.get_sample_value("skim_worker_tasks_total", {"outcome": "requeued"}) == 1
    assert (
        registry.get_sample_value("skim_worker_task_seconds_count", {"outcome": "requeued"})
        is None
    )
    assert registry.get_sample_value("skim_worker_tasks_running") == 0
