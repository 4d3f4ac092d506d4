"""The operators' pages: what runs, what is done, how fast, and what can be done about it."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import httpx
from fastapi import FastAPI
from fastapi.staticfiles import StaticFiles

from services.dashboard.csrf import Csrf
from services.dashboard.live import Streams
from services.dashboard.overview import Sampler, SuiteReader
from services.dashboard.reports import ReportFolder
from services.dashboard.routes.bundles import bundle_routes
from services.dashboard.routes.dead_letters import dead_letter_routes
from services.dashboard.routes.documents import document_routes
from services.dashboard.routes.jobs import job_routes
from services.dashboard.routes.overview import overview_routes
from services.dashboard.routes.reports import report_routes
from services.dashboard.routes.reviews import review_routes
from services.dashboard.routes.search import COMPARISON, search_routes
from services.dashboard.routes.site import Site
from services.dashboard.settings import DashboardSettings
from services.dashboard.suite import Suite
from shared.settings import CommonSettings
from shared.web import create_app

_HERE = Path(__file__).parent


def build_app(
    common: CommonSettings,
    settings: DashboardSettings,
    transport: httpx.AsyncBaseTransport | None = None,
) -> FastAPI:
    """Return the application; `transport` replaces the network, for tests."""
    http = httpx.AsyncClient(headers=common.authorization, transport=transport, trust_env=False)
    suite = Suite(http, _urls(common, settings))
    sampler = Sampler(
        suite,
        window_seconds=settings.rate_window_seconds,
        timeout_seconds=settings.timeout_seconds,
    )

    @asynccontextmanager
    async def _lifespan(_: FastAPI) -> AsyncIterator[None]:
        sampling = asyncio.create_task(_sample(sampler, settings.sample_seconds))
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
    site = Site(settings, Csrf(secrets.token_bytes(32)))
    site.install(app)
    reader = SuiteReader(suite, sampler, timeout_seconds=settings.timeout_seconds)
    app.include_router(overview_routes(site, reader, Streams(settings.max_streams)))
    app.include_router(job_routes(site, suite))
    app.include_router(dead_letter_routes(site, suite))
    app.include_router(document_routes(site, suite))
    app.include_router(search_routes(site, suite))
    app.include_router(review_routes(site, suite))
    app.include_router(report_routes(site, ReportFolder(common.home)))
    app.include_router(bundle_routes(site, suite))
    return app


def _urls(common: CommonSettings, settings: DashboardSettings) -> dict[str, str]:
    urls = {
        "generation": common.generation_url,
        "mapping": common.mapping_url,
        "augmentation": common.augmentation_url,
        "inference": common.inference_url,
    }
    return urls | ({COMPARISON: settings.compare_url} if settings.compare_url else {})


async def _sample(sampler: Sampler, pause_seconds: float) -> None:
    while True:
        await sampler.sample()
        await asyncio.sleep(pause_seconds)
