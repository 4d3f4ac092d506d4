"""Changes of the ads: `PUT`, `PATCH` and `DELETE /v1/ads`; the next request sees them, a restart and another bundle keep them."""

from __future__ import annotations

import asyncio
from typing import Annotated

from fastapi import APIRouter, Query, Request

from services.inference.bodies import described, items_of
from services.inference.serving import Serving
from shared.contracts.base import Identifier
from shared.contracts.inference import Ad, AdId, AdPatch, AdsChanged, AdsCompacted
from shared.errors import NotFound


def changes_router(serving: Serving) -> APIRouter:
    """Return the routes that change ads."""
    router = APIRouter(tags=["ads"])
    most = serving.settings.max_changes

    @router.put("/v1/ads", openapi_extra=described(Ad, most))
    async def put(
        request: Request,
        unless_deleted: Annotated[
            bool, Query(description="Leave out what was deleted with this very content.")
        ] = False,
    ) -> AdsChanged:
        """Add ads, or give known ids another content: a JSON list of documents or one a line, all of them or none.

        With `synthetic_queries` an ad is found by users' words before a training has seen it; the worker sends them.
        """
        body = await request.body()  # parsed in the thread of changes: many would hold up queries
        return await serving.change(
            lambda ads: ads.put(items_of(body, Ad, most), unless_deleted=unless_deleted)
        )

    @router.patch("/v1/ads", openapi_extra=described(AdPatch, most))
    async def patch(request: Request) -> AdsChanged:
        """Change parts of ads: `{"id", "title", "text", "metadata"}`, what is not named stays; unknown ids are counted."""
        body = await request.body()
        return await serving.change(lambda ads: ads.patch(items_of(body, AdPatch, most)))

    @router.delete("/v1/ads", openapi_extra=described(AdId, most, bare="id"))
    async def delete_many(request: Request) -> AdsChanged:
        """Take ads out: a JSON list of ids, or `{"id"}` a line; no bundle brings them back, only a PUT does."""
        body = await request.body()
        return await serving.change(
            lambda ads: ads.delete([each.id for each in items_of(body, AdId, most, bare="id")])
        )

    @router.delete("/v1/ads/{ad_id}")
    async def delete(ad_id: Identifier) -> AdsChanged:
        """Take one ad out."""
        changed = await serving.change(lambda ads: ads.delete([ad_id]))
        if not changed.removed:
            raise NotFound(f"there is no ad {ad_id!r}")
        return changed

    @router.post("/v1/ads:compact")
    async def compact() -> AdsCompacted:
        """Write the journal of the ads anew: nothing is left in it of what was changed or taken out."""
        return AdsCompacted(bytes=await asyncio.to_thread(serving.generations.ads.compact))

    return router
