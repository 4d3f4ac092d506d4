"""The suite as `skim up` runs it, in a home of its own on free ports; only the SLM is a stand-in.

Train queries are indexed, and a bundle trained on clicks is served.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import uuid
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from services.cli.processes import kill, marked, wait_until
from shared.clients import AugmentationClient, InferenceClient, MappingClient
from shared.contracts.document import Document
from shared.dataset import Dataset, Query, write_dataset
from shared.settings import CommonSettings
from shared.store import RedisStore
from tests.chaos.documents import train_queries
from tests.chaos.services import MARK

PARTS = "redis,mapping,augmentation,inference,worker,sweeper"
ROOT = Path(__file__).parents[2]
_COMMAND_SECONDS = 300
_WAIT_SECONDS = 120.0
_SERVICES = ("generation", "mapping", "augmentation", "inference", "dashboard")


class WholeSuite:
    """Runs while the body works.

    Args:
        folder: of the home and the data.
        encoder: folder of a tiny encoder.
    """

    def __init__(self, folder: Path, encoder: Path) -> None:
        self.home = folder / "home"
        self.data = folder / "data"
        self._encoder = encoder
        self._mark = uuid.uuid4().hex
        self._generation: subprocess.Popen[bytes] | None = None
        *ports, redis_port = _free_ports(len(_SERVICES) + 1)
        self._ports = dict(zip(_SERVICES, ports, strict=True))
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("SKIM_")},
            **{
                f"SKIM_{name.upper()}_URL": f"http://127.0.0.1:{port}"
                for name, port in self._ports.items()
            },
            "SKIM_AUTH": "off",
            "SKIM_HOME": str(self.home),
            "SKIM_REDIS_URL": f"redis://127.0.0.1:{redis_port}/0",
            "SKIM_AUGMENTATION_METRICS_PORT": "0",
            "SKIM_AUGMENTATION_SWEEP_SECONDS": "0.5",
            "SKIM_AUGMENTATION_WORKERS": "1",
            "SKIM_CHAOS_SECONDS": "0.01",
            "PYTHONPATH": str(ROOT),
            MARK: self._mark,
        }
        self.common = CommonSettings(
            home=self.home,
            redis_url=self.environment["SKIM_REDIS_URL"],
            **{f"{name}_url": f"http://127.0.0.1:{port}" for name, port in self._ports.items()},
        )
        self.store = RedisStore.at(self.common.redis_url, retries=20)

    def __enter__(self) -> Self:
        self.make_home()
        with (self.home.parent / "generation.log").open("wb") as log:
            self._generation = subprocess.Popen(  # noqa: S603  (our own command)
                [
                    sys.executable,
                    "-m",
                    "tests.chaos.services",
                    "generation",
                    str(self._ports["generation"]),
                ],
                env=self.environment,
                cwd=ROOT,
                stdout=log,
                stderr=log,
            )
        try:
            self.skim("up", "--only", PARTS)
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
        if self._generation is not None:
            self._generation.kill()
            self._generation.wait()
        kill(marked(f"{MARK}={self._mark}"))

    def make_home(self) -> None:
        """Link the encoder, build the index, train and publish a bundle of things nobody posts."""
        self.common.models.mkdir(parents=True)
        (self.common.models / "encoder").symlink_to(self._encoder)
        ads = [Document(id=f"old-{number}", title=f"old {number}") for number in range(4)]
        queries = [Query(id=each, text=text) for each, text in train_queries().items()]
        clicks = {queries[0].id: {"old-0": 1.0}}
        write_dataset(self.data, Dataset(ads, queries, clicks, {}))
        self.skim("mapping", "build", str(self.data))
        self.skim(
            "train", str(self.data), "--clicks-only", "--tower", "title", "--version", "first"
        )
        self.skim("publish", "first")

    def skim(self, *arguments: str, expected: Sequence[int] = (0,)) -> dict[str, Any]:
        """Run a command of ours and return its JSON."""
        done = self.run_skim(*arguments)
        assert done.returncode in expected, (arguments, done.stdout, done.stderr)
        lines = done.stdout.strip().splitlines()
        return dict(json.loads(lines[-1])) if lines and lines[-1].startswith("{") else {}

    def run_skim(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run a command of ours."""
        return self.run([sys.executable, "-m", "services.cli", *arguments])

    def run(self, command: Sequence[str]) -> subprocess.CompletedProcess[str]:
        """Run a command in the suite's environment."""
        return subprocess.run(  # noqa: S603  (our own command)
            command,
            env=self.environment,
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=_COMMAND_SECONDS,
            check=False,
        )

    def augmentation(self) -> AugmentationClient:
        """Return a client of the augmentation service."""
        return AugmentationClient(self.common.augmentation_url, timeout_seconds=30.0)

    def inference(self) -> InferenceClient:
        """Return a client of the inference service."""
        return InferenceClient(self.common.inference_url, timeout_seconds=30.0)

    def mapping(self) -> MappingClient:
        """Return a client of the mapping service."""
        return MappingClient(self.common.mapping_url, timeout_seconds=30.0)

    def until(self, is_so: Callable[[], bool]) -> None:
        """Wait until something is so."""
        assert wait_until(is_so, _WAIT_SECONDS), f"logs are in {self.home / 'run' / 'logs'}"


def _free_ports(number: int) -> list[int]:
    listeners = [socket.socket() for _ in range(number)]
    for each in listeners:
        each.bind(("127.0.0.1", 0))
    ports = [int(each.getsockname()[1]) for each in listeners]
    for each in listeners:
        each.close()
    return ports
