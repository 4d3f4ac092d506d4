"""Both users, headless and short, on the services' own applications. Locust patches the standard library when imported, so
it runs as the command it is."""

import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

import httpx
import pytest
from fastapi import FastAPI

from services.augmentation.app import build_app
from services.augmentation.dispatcher import Dispatcher
from services.augmentation.settings import AugmentationSettings
from shared.store import MemoryStore
from tests.support import services
from tests.support.operated_suite import all_served
from tests.support.queues import FakeQueue

Found = TypeVar("Found")
ADS = ("AdsUser",)
BOTH_MEASURED = {"/v1/ads", "documents until labelled"}


class _DoneQueue(FakeQueue):
    """Has every document labelled as soon as it is asked for."""

    def __init__(self, store: MemoryStore) -> None:
        super().__init__()
        self._store = store

    def enqueue(self, job_id: str, document_ids: Sequence[str]) -> None:
        for document_id in document_ids:
            self._store.finish_document(job_id, document_id, labels=1)


def augmentation(*, works: bool) -> FastAPI:
    store = MemoryStore()
    queue = _DoneQueue(store) if works else FakeQueue()
    return build_app(
        AugmentationSettings(), store, Dispatcher(store, queue, batch_size=4, seconds=60)
    )


@pytest.fixture
def urls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Mapping[str, str]]:
    monkeypatch.setenv("SKIM_AUTH", "off")
    apps = {
        "inference": services.inference(tmp_path),
        "works": augmentation(works=True),
        "hangs": augmentation(works=False),
    }
    with all_served(apps) as urls:
        yield urls


HEADLESS = ("--headless", "-t", "4s")
UNTIL_ENDED = ("--headless",)


def locust(
    inference: str, augmentation: str, *options: str, how: Sequence[str] = HEADLESS
) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "locust", "-f", "loadtests/locustfile.py", *how]
    command += ["--equal-weights", "-u", "2", "-r", "2"]
    command += ["--inference-url", inference, "--augmentation-url", augmentation, *options]
    return subprocess.Popen(  # noqa: S603  (our own arguments)
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


def test_both_users_run_and_the_exit_code_says_whether_a_limit_was_broken(
    urls: Mapping[str, str],
) -> None:
    # the limits are this test's own: it is about the exit code, not about how busy the machine is
    long = ("--max-ads-p99-ms", "30000")
    runs = {
        "within": locust(urls["inference"], urls["works"], *long, how=UNTIL_ENDED),
        "slow": locust(
            urls["inference"], urls["works"], "--max-ads-p99-ms", "0", *ADS, how=UNTIL_ENDED
        ),
        "hanging": locust(urls["inference"], urls["hangs"], *long),
        "away": locust("http://127.0.0.1:1", urls["works"], *long, *ADS, how=UNTIL_ENDED),
    }
    said = {
        "within": said_once_measured(runs["within"], BOTH_MEASURED),
        "slow": said_once_measured(runs["slow"], {"/v1/ads"}),
        "away": said_once_measured(runs["away"], {"/v1/ads"}),
        "hanging": runs["hanging"].communicate(timeout=90)[0],
    }

    assert {name: run.returncode for name, run in runs.items()} == {
        "within": 0,
        "slow": 1,
        "hanging": 1,
        "away": 1,
    }, said
    assert "documents until labelled" in said["within"]
    assert "/v1/ads" in said["within"]
    assert "limit broken: ads took" in said["slow"]
    assert "limit broken: no job was finished" in said["hanging"]
    assert "limit broken: 100.00 % failed" in said["away"]


def test_its_web_page_starts_both_users_and_shows_what_they_measure(
    urls: Mapping[str, str],
) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    how = ("--web-host", "127.0.0.1", "--web-port", str(port))
    run = locust(urls["inference"], urls["works"], how=how)
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False) as client:
            page = until(lambda: client.get("/"), run)
            client.post("/swarm", data={"user_count": 2, "spawn_rate": 2}).raise_for_status()
            names = until(lambda: names_of(client.get("/stats/requests")), run)
    finally:
        run.kill()
        run.communicate()

    assert "max_ads_p99_ms" in page.text
    assert names >= BOTH_MEASURED


def said_once_measured(run: subprocess.Popen[str], names: Collection[str]) -> str:
    """Return all that a run said that is ended once these were measured, however long a busy machine takes."""
    assert run.stdout is not None
    late = threading.Timer(60, run.kill)
    late.start()
    said = ""
    for line in run.stdout:
        said += line
        if all(name in said for name in names):
            break
    late.cancel()
    run.terminate()
    return said + run.communicate(timeout=90)[0]


def until(found: Callable[[], Found | None], run: subprocess.Popen[str]) -> Found:
    """Return what is found as soon as it is; the process may not be up yet."""
    ends = time.monotonic() + 60
    while time.monotonic() < ends and run.poll() is None:
        try:
            if value := found():
                return value
        except httpx.TransportError:
            pass
        time.sleep(0.1)
    raise AssertionError(f"nothing was found; exit code {run.poll()}")


def names_of(answer: httpx.Response) -> set[str] | None:
    """Return what was measured, once both flows were."""
    names = {each["name"] for each in answer.json()["stats"]}
    return names if names >= BOTH_MEASURED else None
