"""Knowledge gaps and evaluations: the reports there are, and each of them."""

from __future__ import annotations

import asyncio

from fastapi import APIRouter, Request, Response

from services.dashboard.reports import PATTERNS, ReportFolder
from services.dashboard.routes.site import PageProblem, Site
from shared.errors import InvalidInput, NotFound


def report_routes(site: Site, folder: ReportFolder) -> APIRouter:
    """Return the routes."""
    router = APIRouter(include_in_schema=False)

    @router.get("/reports")
    async def reports(request: Request) -> Response:
        """List the reports."""
        files = await asyncio.to_thread(folder.files)
        return site.page(request, "reports.html", files=files, patterns=PATTERNS)

    @router.get("/reports/{name:path}")
    async def report(request: Request, name: str) -> Response:
        """Show a report."""
        try:
            found = await asyncio.to_thread(folder.report, name)
        except NotFound as error:
            raise PageProblem(f"{error}.", 404) from error
        except InvalidInput as error:
            raise PageProblem(f"This report cannot be shown: {error}.", 422) from error
        return site.page(request, "report.html", report=found)

    return router
