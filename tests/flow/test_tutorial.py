"""The tutorial as a newcomer goes through it: its commands as they stand, with real models, on a shop's two tables."""

from __future__ import annotations

import csv
import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from shared.settings import CommonSettings

TUTORIAL = Path(__file__).parents[2] / "deploy/TUTORIAL.md"
PARTS = ("GENERATION", "MAPPING", "AUGMENTATION", "INFERENCE", "DASHBOARD")
KINDS = ("bed", "chair", "stool", "bench", "sofa", "table")
QUERIES = ("wooden {}", "small {}", "{} for the garden")


def commands() -> list[str]:
    """Return the blocks of shell in the tutorial, in order."""
    return re.findall(r"```sh\n(.*?)```", TUTORIAL.read_text(), re.DOTALL)


def write_tables(folder: Path) -> None:
    """Write a feed and a log in which each query shows products of all kinds, and its own are clicked."""
    with (folder / "feed.csv").open("w", newline="") as file:
        feed = csv.writer(file)
        feed.writerow(["id", "title", "description", "price"])
        for kind in KINDS:
            for number in range(6):
                feed.writerow([f"{kind}-{number}", f"{kind} {number}", f"a {kind} of wood", 10])
    with (folder / "clicks.csv").open("w", newline="") as file:
        log = csv.writer(file)
        log.writerow(["query", "product_id", "clicks", "impressions"])
        for own in KINDS:
            for query in QUERIES:
                for kind in KINDS:
                    for number in range(4):
                        clicks = int(kind == own)
                        log.writerow([query.format(own), f"{kind}-{number}", clicks, 5])


@pytest.fixture
def environment(tmp_path: Path) -> Iterator[dict[str, str]]:
    """A home of its own with the built models, and ports that are free."""
    models = CommonSettings().models.resolve()
    if not (models / "slm").exists():
        pytest.skip(f"{models}: no models; deploy/setup.sh builds them")
    home = tmp_path / "home"
    home.mkdir()
    (home / "models").symlink_to(models)
    tools = Path(sys.executable).parent
    urls = {f"SKIM_{part}_URL": f"http://127.0.0.1:{_free_port()}" for part in PARTS}
    variables = {
        **{name: value for name, value in os.environ.items() if not name.startswith("SKIM_")},
        **urls,
        "SKIM_HOME": str(home),
        "SKIM_REDIS_URL": f"redis://127.0.0.1:{_free_port()}/0",
        "SKIM_AUGMENTATION_METRICS_PORT": "0",
        "PATH": f"{tools}:{os.environ['PATH']}",
    }
    yield variables
    subprocess.run([tools / "skim", "down"], env=variables, check=False)  # noqa: S603


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.mark.slow
def test_every_command_of_the_tutorial_works_as_it_stands(
    tmp_path: Path, environment: dict[str, str]
) -> None:
    write_tables(tmp_path)
    script = "set -euo pipefail\n" + "".join(commands())
    script = script.replace("http://127.0.0.1:8100", environment["SKIM_INFERENCE_URL"])

    finished = subprocess.run(  # noqa: S603
        ["bash", "-c", script],  # noqa: S607
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=540,
        check=False,
    )

    assert finished.returncode == 0, finished.stderr[-2_000:]
    ranked = re.findall(r'"id":"(\w+)-\d"', finished.stdout)
    assert ranked == ["bed", "bed", "bed"]


def test_the_tutorial_has_commands_from_the_tables_to_the_answer() -> None:
    said = "".join(commands())

    for command in ("data shop", "up", "augment", "mapping calibrate", "train", "publish", "down"):
        assert f"skim {command}" in said
