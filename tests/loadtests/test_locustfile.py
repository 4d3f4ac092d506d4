"""Both users, headless and short, on the services' own applications. Locust patches the standard library when imported, so
it runs as the command it is."""

import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pytest
from fastapi import FastAPI

from services.augmentation.app import build_app
from services.augmentation.dispatcher import Dispatcher
from services.augmentation.settings import AugmentationSettings
from shared.store import MemoryStore
from tests.support import services
from tests.support.operated_suite import all_served
from tests.support.queues import FakeQueue

BOTH, ADS, DOCUMENTS = (), ("AdsUser",), ("DocumentsUser",)


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


def locust(inference: str, augmentation: str, *options: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "locust", "-f", "loadtests/locustfile.py", "--headless"]
    command += ["--equal-weights", "-u", "2", "-r", "2", "-t", "4s"]
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
        "within": locust(urls["inference"], urls["works"], *long),
        "slow": locust(urls["inference"], urls["works"], "--max-ads-p99-ms", "0", *ADS),
        "hanging": locust(urls["inference"], urls["hangs"], *long),
        "away": locust("http://127.0.0.1:1", urls["works"], *long, *ADS),
    }
    said = {name: run.communicate(timeout=90)[0] for name, run in runs.items()}

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
