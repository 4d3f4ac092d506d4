"""Bundles: listed, compared, activated, rolled back."""

from __future__ import annotations

import asyncio

from fastapi import APIRouter, Request, Response

from services.dashboard.answers import Bundle, Bundles
from services.dashboard.routes.site import Site, identifier
from services.dashboard.suite import Suite


def bundle_routes(site: Site, suite: Suite) -> APIRouter:
    """Return the routes."""
    router = APIRouter(include_in_schema=False)
    seconds = site.settings.page_seconds

    @router.get("/bundles")
    async def bundles(request: Request, a: str = "", b: str = "") -> Response:
        """List the bundles; show two beside each other."""
        served, found = await asyncio.gather(
            suite.read(Bundle, "inference", "/v1/info", seconds=seconds),
            suite.read(Bundles, "inference", "/v1/bundles", seconds=seconds),
        )
        there = found.value
        return site.page(
            request,
            "bundles.html",
            served=served,
            found=found,
            a=there.named(a) if there else None,
            b=there.named(b) if there else None,
        )

    @router.post("/bundles/{version}:activate")
    async def activate(request: Request, version: str) -> Response:
        """Verify a bundle, warm it up, and serve it."""
        await site.form(request)
        await _act(f"/v1/bundles/{identifier(version)}:activate")
        return site.back("/bundles", "activated")

    @router.post("/bundles:rollback")
    async def rollback(request: Request) -> Response:
        """Serve the bundle that was served before."""
        await site.form(request)
        await _act("/v1/bundles:rollback")
        return site.back("/bundles", "rolled-back")

    @router.post("/bundles:reload")
    async def reload(request: Request) -> Response:
        """Serve what is published."""
        await site.form(request)
        await _act("/v1/bundles:reload")
        return site.back("/bundles", "reloaded")

    async def _act(path: str) -> None:
        await suite.act(Bundle, "inference", "POST", path, seconds=site.settings.action_seconds)

    return router
