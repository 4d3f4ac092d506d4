"""Dead letters: listed, replayed, purged."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from services.dashboard.answers import DeadLetters, Purged, Replayed
from services.dashboard.routes.site import Form, PageProblem, Site, identifier
from services.dashboard.suite import Suite

_LETTERS = 100
"""A page of them; as many may be purged by name at once."""


def dead_letter_routes(site: Site, suite: Suite) -> APIRouter:
    """Return the routes."""
    router = APIRouter(include_in_schema=False)

    @router.get("/dead-letters")
    async def dead_letters(request: Request, cursor: str = "") -> Response:
        """List the documents that were given up."""
        found = await suite.read(
            DeadLetters,
            "augmentation",
            "/v1/dead-letters",
            seconds=site.settings.page_seconds,
            params={"limit": _LETTERS, **({"cursor": cursor} if cursor else {})},
        )
        return site.page(request, "dead_letters.html", found=found, is_first=not cursor)

    @router.post("/dead-letters:replay")
    async def replay(request: Request) -> Response:
        """Take dead documents in again."""
        form = await site.form(request)
        ids = _chosen(form)
        replayed = await suite.act(
            Replayed,
            "augmentation",
            "POST",
            "/v1/dead-letters:replay",
            seconds=site.settings.action_seconds,
            body={"document_ids": ids},
        )
        if replayed.job is None:
            return site.back("/dead-letters", "nothing")
        return site.back(f"/jobs/{replayed.job.id}", "replayed")

    @router.post("/dead-letters:purge")
    async def purge(request: Request) -> Response:
        """Forget dead letters."""
        form = await site.form(request)
        ids = _chosen(form)
        purged = await suite.act(
            Purged,
            "augmentation",
            "DELETE",
            "/v1/dead-letters",
            seconds=site.settings.action_seconds,
            params={"document_id": ids} if ids else None,
        )
        return site.back("/dead-letters", "purged", purged.purged)

    return router


def _chosen(form: Form) -> list[str] | None:
    """Return the documents that were ticked, None for all; to tick none is no choice."""
    if form.get("which") == ["all"]:
        return None
    ids = [identifier(each) for each in form.get("document_id", ())]
    if not ids:
        raise PageProblem("No dead letter was chosen: tick some, or choose all of them.", 422)
    return ids
