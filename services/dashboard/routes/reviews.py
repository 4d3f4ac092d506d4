"""The label review: a sample of labels, accepted or rejected by a person."""

from __future__ import annotations

import asyncio
import secrets
from dataclasses import dataclass

from fastapi import APIRouter, Request, Response
from pydantic import ValidationError

from services.dashboard.reviewing import drawn, verdicts_of
from services.dashboard.routes.site import PageProblem, Site, identifier
from services.dashboard.suite import Suite
from shared.contracts.augmentation import DocumentLabels, ExportedLabel, Label
from shared.contracts.document import Document
from shared.contracts.reviews import (
    MAX_REVIEWS_PER_REQUEST,
    Review,
    VerdictsKept,
    VerdictsRequest,
)

_LABELS = 8
_REVIEWS = 100_000
"""So many verdicts are passed over when labels are drawn."""


@dataclass(frozen=True)
class Question:
    """A label that a person is asked about."""

    document: Document
    label: Label


def review_routes(site: Site, suite: Suite) -> APIRouter:
    """Return the routes."""
    router = APIRouter(include_in_schema=False)
    settings = site.settings

    @router.get("/reviews")
    async def reviews(request: Request, seed: int | None = None) -> Response:
        """Show labels without a verdict."""
        labels, known = await asyncio.gather(
            suite.lines(
                ExportedLabel,
                "augmentation",
                "/v1/labels",
                seconds=settings.page_seconds,
                limit=settings.max_reviewed_labels,
            ),
            suite.lines(
                Review,
                "augmentation",
                "/v1/reviews",
                seconds=settings.page_seconds,
                limit=_REVIEWS,
            ),
        )
        chosen = secrets.randbelow(2**31) if seed is None else seed
        reviewed = {(each.document_id, each.query_id) for each in known.value or ()}
        asked = await asyncio.gather(
            *(_question(each) for each in drawn(labels.value or [], reviewed, _LABELS, chosen))
        )
        return site.page(
            request,
            "reviews.html",
            labels=labels,
            known=known,
            is_cut=len(labels.value or ()) == settings.max_reviewed_labels,
            accepted=sum(each.verdict == "accept" for each in known.value or ()),
            questions=[each for each in asked if each is not None],
            seed=chosen,
        )

    @router.post("/reviews")
    async def keep(request: Request) -> Response:
        """Keep the verdicts of a form."""
        form = await site.form(request)
        try:
            verdicts = verdicts_of(form)
        except (ValidationError, ValueError) as error:
            raise PageProblem("A verdict of this form is none of ours.", 422) from error
        document_id = form.get("document", [""])[-1]
        path = f"/documents/{identifier(document_id)}" if document_id else "/reviews"
        if not verdicts:
            return site.back(path, "nothing")
        changed = 0
        for start in range(0, len(verdicts), MAX_REVIEWS_PER_REQUEST):
            some = verdicts[start : start + MAX_REVIEWS_PER_REQUEST]
            kept = await suite.act(
                VerdictsKept,
                "augmentation",
                "PUT",
                "/v1/reviews",
                seconds=settings.action_seconds,
                body=VerdictsRequest(reviews=some).model_dump(mode="json"),
            )
            changed += kept.kept + kept.withdrawn
        return site.back(path, "reviewed", changed)

    async def _question(exported: ExportedLabel) -> Question | None:
        path = f"/v1/documents/{exported.document_id}"
        document, labels = await asyncio.gather(
            suite.read(Document, "augmentation", path, seconds=settings.page_seconds),
            suite.read(
                DocumentLabels, "augmentation", f"{path}/labels", seconds=settings.page_seconds
            ),
        )
        if document.value is None or labels.value is None:
            return None
        of_pair = (each for each in labels.value.labels if each.query_id == exported.query_id)
        label = next(of_pair, None)  # None: it has other labels by now
        return None if label is None else Question(document.value, label)

    return router
