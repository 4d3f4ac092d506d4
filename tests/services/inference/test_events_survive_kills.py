"""The real service is killed while events come in, again and again: what it answered for is there."""

from __future__ import annotations

import itertools
import os
import random
import socket
import subprocess
import sys
import threading
import time
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest

from shared.bundle import Counts, activate, write_bundle
from shared.contracts.document import Document
from shared.encoder import SentenceEncoder
from shared.events.files import days_of, event_files, mend, read_day

pytestmark = pytest.mark.chaos
KILLS, START_SECONDS = 4, 60.0


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Service:
    """The inference service as a process on one port."""

    def __init__(self, home: Path) -> None:
        self._home, self.port = home, free_port()
        self._process = self._start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()

    def start_again(self) -> None:
        self._process = self._start()

    def _start(self) -> subprocess.Popen[bytes]:
        environment = os.environ | {
            "SKIM_HOME": str(self._home),
            "SKIM_AUTH": "off",
            "SKIM_INFERENCE_PORT": str(self.port),
            "SKIM_INFERENCE_EVENT_FILE_BYTES": "20000",
        }
        command = [sys.executable, "-m", "services.inference"]
        process = subprocess.Popen(command, env=environment)  # noqa: S603
        ends = time.monotonic() + START_SECONDS
        while time.monotonic() < ends:
            try:
                if httpx.get(f"{self.url}/readyz", trust_env=False).is_success:
                    return process
            except httpx.HTTPError:
                pass
            time.sleep(0.05)
        process.kill()
        raise AssertionError("the service was not ready")


@pytest.fixture
def home(tmp_path: Path, tiny_encoder: Path) -> Path:
    bundles = tmp_path / "home" / "bundles"
    written = write_bundle(
        bundles,
        encoder=tiny_encoder,
        ads=[Document(id="boat", title="boat")],
        vectors=SentenceEncoder(tiny_encoder).encode(["boat"]),
        counts=Counts(ads=1, train_queries=0, clicks=0, labels=0),
    )
    activate(bundles, written.name)
    return tmp_path / "home"


def test_what_was_answered_for_survives_any_number_of_kills(home: Path) -> None:
    service, numbers = Service(home), itertools.count()
    answered: set[str] = set()
    is_over = threading.Event()

    def _send() -> None:
        with httpx.Client(trust_env=False, timeout=10.0) as client:
            while not is_over.is_set():
                ids = [f"e{next(numbers)}" for _ in range(5)]
                events = [
                    {
                        "id": name,
                        "kind": "click",
                        "time": datetime.now(UTC).isoformat(),
                        "query": "boat",
                        "ad": "boat",
                        "position": 1,
                        "generation": "v1",
                        "request": name,
                    }
                    for name in ids
                ]
                try:
                    if client.post(f"{service.url}/v1/events", json=events).is_success:
                        answered.update(ids)
                except httpx.HTTPError:
                    is_over.wait(0.05)

    senders = [threading.Thread(target=_send) for _ in range(4)]
    for sender in senders:
        sender.start()
    pauses = random.Random(0)
    for _ in range(KILLS):
        time.sleep(pauses.uniform(0.2, 0.8))
        service.kill()
        service.start_again()
    is_over.set()
    for sender in senders:
        sender.join()
    service.kill()

    mend(home / "events")
    found = [read_day(home / "events", day) for day in days_of(home / "events")]
    kept = {event.id for day in found for event in day.events}
    assert len(answered) > 100
    assert answered <= kept
    assert sum(day.damaged for day in found) == 0
    assert all(path.suffix == ".jsonl" for path in event_files(home / "events"))
