"""What is served: `/v1/info`, `/v1/bundles`, and the switch to another bundle and back."""

from __future__ import annotations

import asyncio
import gc

from fastapi import APIRouter

from services.inference.serving import Serving
from services.inference.view import View
from shared.contracts.base import BundleVersion
from shared.contracts.inference import Bundles, InferenceInfo


def bundles_router(serving: Serving) -> APIRouter:
    """Return the routes that say and choose what is served."""
    router = APIRouter(tags=["operations"])
    generations = serving.generations

    @router.get("/v1/info")
    async def info() -> InferenceInfo:
        """Say what the answers come from."""
        return await _info(generations.view())

    @router.get("/v1/bundles")
    async def bundles() -> Bundles:
        """List the bundles that can be activated, newest first."""
        return await asyncio.to_thread(generations.bundles)

    @router.post("/v1/bundles:reload")
    async def reload() -> InferenceInfo:
        """Serve the bundle that is `current` now; a damaged one leaves the served one in place."""
        return await _served(await generations.reload())

    @router.post("/v1/bundles:rollback")
    async def rollback() -> InferenceInfo:
        """Serve the bundle that was served before this one."""
        return await _served(await generations.rollback())

    @router.post("/v1/bundles/{version}:activate")
    async def activate(version: BundleVersion) -> InferenceInfo:
        """Verify a bundle, warm it up, and serve it; on any error the served one stays."""
        return await _served(await generations.activate(version))

    async def _served(view: View) -> InferenceInfo:
        gc.freeze()  # what is kept for long is not looked at by each full collection
        return await _info(view)

    async def _info(view: View) -> InferenceInfo:
        changed, cold = await asyncio.to_thread(lambda: generations.ads.changed)
        generation, card = view.generation, view.generation.base.index.card
        return InferenceInfo(
            generation=generation.name,
            ads_version=view.version,
            ads=view.live,
            encoder=generation.encoder.name,
            dimensions=generation.encoder.dimensions,
            index=card.kind,
            ef=card.ef,
            nprobe=card.nprobe,
            recall_at_10=card.recall_at_10,
            changed_ads=changed,
            changed_index=None if view.extra is None else view.extra.index.card.kind,
            cold_start_ads=cold,
            calibration=generation.calibration,
            metrics=dict(generation.metrics),
        )

    return router
