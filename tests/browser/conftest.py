"""A browser, a suite it looks at over real HTTP, screenshots, and an accessibility checker."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI

from services.dashboard.app import build_app
from services.dashboard.settings import DashboardSettings
from tests.support.operated_suite import OperatedSuite, all_served, served, write_reports

AXE = "axe-core@4.14.1"
_SCREENSHOTS = pytest.StashKey[Path]()


@dataclass(frozen=True)
class Operated:
    """A suite that runs, and its dashboard: the application, and where it answers."""

    suite: OperatedSuite
    app: FastAPI
    url: str


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """Debian's chromium, driven by Playwright."""
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("no chromium: apt-get install chromium")
    playwright = pytest.importorskip("playwright.sync_api", reason="pip install -e '.[dev]'")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(
            executable_path=chromium, args=["--no-sandbox", "--disable-gpu"]
        )
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def axe(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The source of axe-core, from npm."""
    npm = shutil.which("npm")
    if npm is None:
        pytest.skip("no npm: axe-core cannot be installed, accessibility is not checked")
    folder = tmp_path_factory.mktemp("axe")
    command = [
        npm,
        "install",
        "--silent",
        "--no-save",
        "--ignore-scripts",
        "--prefix",
        folder,
        AXE,
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)  # noqa: S603
    if done.returncode:
        pytest.skip(
            f"npm cannot install {AXE}, accessibility is not checked: {done.stderr[-300:]}"
        )
    return (folder / "node_modules" / "axe-core" / "axe.min.js").read_text(encoding="utf-8")


def running(home: Path, *, is_new: bool = False) -> Iterator[Operated]:
    suite = OperatedSuite(is_new=is_new)
    if not is_new:
        write_reports(home)
    with ExitStack() as stack:
        urls = stack.enter_context(all_served(suite.apps))
        compare_url = urls.pop("comparison")
        common = suite.common(home=home, **{f"{name}_url": url for name, url in urls.items()})
        settings = DashboardSettings(
            refresh_seconds=1, sample_seconds=0.5, timeout_seconds=20, compare_url=compare_url
        )
        app = build_app(common, settings)
        yield Operated(suite, app, stack.enter_context(served(app)))


@pytest.fixture(scope="session")
def looked_at(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Operated]:
    """A suite that is only looked at."""
    yield from running(tmp_path_factory.mktemp("looked_at"))


@pytest.fixture(scope="session")
def new(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Operated]:
    """A suite that nobody has posted anything to."""
    yield from running(tmp_path_factory.mktemp("new"), is_new=True)


@pytest.fixture(scope="session")
def away(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Operated]:
    """A dashboard all of whose services are away."""
    suite = OperatedSuite(is_new=True)
    nowhere = {f"{name}_url": "http://127.0.0.1:9" for name in suite.apps if name != "comparison"}
    common = suite.common(home=tmp_path_factory.mktemp("away"), **nowhere)
    app = build_app(common, DashboardSettings(refresh_seconds=1))
    with served(app) as url:
        yield Operated(suite, app, url)


@pytest.fixture
def operated(tmp_path: Path) -> Iterator[Operated]:
    """A suite to act on."""
    yield from running(tmp_path)


@pytest.fixture
def open_page(browser: Any) -> Iterator[Callable[..., Any]]:  # noqa: ANN401
    """Open an address in a window of its own; errors of the console end up in `page.complaints`."""
    with ExitStack() as stack:

        def open_at(url: str, width: int = 1280, **context: Any) -> Any:  # noqa: ANN401
            window = browser.new_context(viewport={"width": width, "height": 800}, **context)
            stack.callback(window.close)
            page = window.new_page()
            page.complaints = []
            page.on("console", lambda each: _note(page, each))
            page.on("pageerror", lambda error: page.complaints.append(str(error)))
            page.goto(url)
            return page

        yield open_at


def _note(page: Any, message: Any) -> None:  # noqa: ANN401
    if message.type in ("error", "warning"):
        page.complaints.append(message.text)


@pytest.fixture(scope="session")
def screenshots(tmp_path_factory: pytest.TempPathFactory, pytestconfig: pytest.Config) -> Path:
    """The folder of the screenshots; its name is in the last lines of the run."""
    folder = tmp_path_factory.mktemp("screenshots", numbered=False)
    pytestconfig.stash[_SCREENSHOTS] = folder
    return folder


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:  # noqa: ANN401
    """Say where the screenshots are."""
    folder = config.stash.get(_SCREENSHOTS, None)
    if folder is not None:
        terminalreporter.write_line(f"screenshots: {folder}")
