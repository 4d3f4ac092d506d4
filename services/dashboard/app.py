"""The operators' page: what runs, what is done, how fast; `GET /` for people, `/v1/overview` for programs."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import httpx
from fastapi import FastAPI, Request
from fastapi.responses import HTMLResponse
from fastapi.staticfiles import StaticFiles
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from services.dashboard.overview import Overview, SuiteReader
from services.dashboard.rate import Rate
from services.dashboard.settings import DashboardSettings
from shared.settings import CommonSettings
from shared.web import create_app

PAGE_HEADERS = {
    "content-security-policy": (
        "default-src 'none'; style-src 'self'; img-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
}
"""Beside those of every answer (`shared/web/middleware.py`)."""
_HERE = Path(__file__).parent


def build_app(
    common: CommonSettings,
    settings: DashboardSettings,
    transport: httpx.AsyncBaseTransport | None = None,
) -> FastAPI:
    """Return the application; `transport` replaces the network, for tests."""
    rate = Rate(settings.rate_window_seconds)
    templates = Environment(
        loader=FileSystemLoader(_HERE / "templates"), autoescape=True, undefined=StrictUndefined
    )
    http = httpx.AsyncClient(
        timeout=settings.timeout_seconds,
        headers=common.authorization,
        transport=transport,
        trust_env=False,
    )
    urls = {
        "generation": common.generation_url,
        "mapping": common.mapping_url,
        "augmentation": common.augmentation_url,
        "inference": common.inference_url,
    }
    reader = SuiteReader(http, urls, timeout_seconds=settings.timeout_seconds)

    @asynccontextmanager
    async def _lifespan(_: FastAPI) -> AsyncIterator[None]:
        sampling = asyncio.create_task(_sample(reader, rate, settings.sample_seconds))
        yield
        sampling.cancel()
        with suppress(asyncio.CancelledError):
            await sampling
        await http.aclose()

    async def _check_ready(_: FastAPI) -> None:
        """It shows what others lack and lacks nothing itself."""

    app = create_app(
        "dashboard",
        "What runs, what is done, how fast.",
        _lifespan,
        check_ready=_check_ready,
        max_body_bytes=settings.max_body_bytes,
    )
    app.mount("/static", StaticFiles(directory=_HERE / "static"), name="static")

    @app.get("/v1/overview", tags=["dashboard"])
    async def read_overview() -> Overview:
        """Give what the page shows."""
        return await reader.overview(rate.per_minute())

    @app.get("/", response_class=HTMLResponse, include_in_schema=False)
    async def page(request: Request) -> HTMLResponse:
        """Show the suite; the page loads itself again after `refresh_seconds`."""
        overview = await reader.overview(rate.per_minute())
        html = templates.get_template("overview.html").render(
            overview=overview,
            counts=overview.counts,
            troubled=[name for name, service in overview.services.items() if not service.is_ready],
            refresh_seconds=settings.refresh_seconds,
            now=time.strftime("%H:%M:%S"),
        )
        return HTMLResponse(html, headers=PAGE_HEADERS)

    return app


async def _sample(reader: SuiteReader, rate: Rate, pause_seconds: float) -> None:
    while True:
        counts = await reader.counts()
        if counts is not None:
            rate.add(time.monotonic(), counts.done)
        await asyncio.sleep(pause_seconds)
