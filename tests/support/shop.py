"""A shop's two tables, and a place of its own in which a person types what our documents say."""

from __future__ import annotations

import csv
import os
import socket
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import orjson

from shared.settings import CommonSettings

KINDS = ("bed", "chair", "stool", "bench", "sofa", "table")
_QUERIES = ("wooden {}", "small {}", "{} for the garden")
_PARTS = {"GENERATION", "MAPPING", "AUGMENTATION", "INFERENCE", "DASHBOARD"}
_LONGEST_SECONDS = 1_200


def models() -> Path:
    """Return the folder of built models; without an `slm` in it the suite cannot write."""
    return CommonSettings().models.resolve()


def write_tables(folder: Path) -> None:
    """Write a feed and a log in which each query shows products of all kinds, and its own are clicked; and new products."""
    with (folder / "feed.csv").open("w", newline="") as file:
        feed = csv.writer(file)
        feed.writerow(["id", "title", "description", "price"])
        feed.writerow(["sku-1", "Oak bed", "A bed of solid oak, 160 x 200", 799])
        for kind in KINDS:
            for number in range(6):
                feed.writerow([f"{kind}-{number}", f"{kind} {number}", f"a {kind} of wood", 10])
    with (folder / "clicks.csv").open("w", newline="") as file:
        log = csv.writer(file)
        log.writerow(["query", "product_id", "clicks", "impressions"])
        for own in KINDS:
            for query in _QUERIES:
                for kind in KINDS:
                    for number in range(4):
                        clicks = int(kind == own)
                        log.writerow([query.format(own), f"{kind}-{number}", clicks, 5])
    new = {"id": "new-1", "title": "folding bed", "text": "A bed to fold.", "metadata": {}}
    (folder / "new.jsonl").write_bytes(orjson.dumps(new) + b"\n")


@dataclass(frozen=True)
class Person:
    """Somebody at a shell, with a home and ports of their own."""

    folder: Path
    home: Path
    environment: dict[str, str]

    def types(self, script: str) -> subprocess.CompletedProcess[str]:
        """Run a script that stops at its first error."""
        ours = self.environment["SKIM_INFERENCE_URL"]
        script = "set -euo pipefail\n" + script.replace("http://127.0.0.1:8100", ours)
        return subprocess.run(  # noqa: S603
            ["bash", "-c", script],  # noqa: S607
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=_LONGEST_SECONDS,
            check=False,
        )

    def at(self, folder: Path) -> Person:
        """Return the same person in another folder, with fresh tables in it."""
        folder.mkdir()
        write_tables(folder)
        (folder / ".venv").symlink_to(Path(sys.executable).parents[1])
        return Person(folder, self.home, self.environment)


def person_in(folder: Path) -> Person:
    """Return somebody with the built models, free ports, and the two tables."""
    home = folder / "home"
    home.mkdir()
    (home / "models").symlink_to(models())
    urls = {f"SKIM_{part}_URL": f"http://127.0.0.1:{_free_port()}" for part in _PARTS}
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("SKIM_")},
        **urls,
        "SKIM_HOME": str(home),
        "SKIM_REDIS_URL": f"redis://127.0.0.1:{_free_port()}/0",
        "SKIM_AUGMENTATION_METRICS_PORT": "0",
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
    }
    return Person(folder, home, environment).at(folder / "shop")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
