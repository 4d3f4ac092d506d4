"""Jobs: listed, looked at, cancelled."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from services.dashboard.answers import ReadJob, ReadJobs
from services.dashboard.routes.site import PageProblem, Site, identifier
from services.dashboard.suite import Suite

_JOBS = 50


def job_routes(site: Site, suite: Suite) -> APIRouter:
    """Return the routes."""
    router = APIRouter(include_in_schema=False)

    @router.get("/jobs")
    async def jobs(request: Request, cursor: str = "") -> Response:
        """List jobs, the newest first."""
        found = await suite.read(
            ReadJobs,
            "augmentation",
            "/v1/jobs",
            seconds=site.settings.page_seconds,
            params={"limit": _JOBS, **({"cursor": cursor} if cursor else {})},
        )
        return site.page(request, "jobs.html", found=found, is_first=not cursor)

    @router.get("/jobs/{job_id}")
    async def job(request: Request, job_id: str) -> Response:
        """Show a job."""
        found = await suite.read(
            ReadJob,
            "augmentation",
            f"/v1/jobs/{identifier(job_id)}",
            seconds=site.settings.page_seconds,
        )
        if found.value is None:
            raise PageProblem(found.line, found.status or 502)
        return site.page(request, "job.html", job=found.value)

    @router.post("/jobs/{job_id}:cancel")
    async def cancel(request: Request, job_id: str) -> Response:
        """Have nothing more of a job worked on."""
        await site.form(request)
        path = f"/v1/jobs/{identifier(job_id)}:cancel"
        await suite.act(
            ReadJob, "augmentation", "POST", path, seconds=site.settings.action_seconds
        )
        return site.back(f"/jobs/{job_id}", "cancelled")

    return router
