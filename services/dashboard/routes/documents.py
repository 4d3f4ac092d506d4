"""A document looked up: what it is, what was written for it, its labels and why, and whom it competes with."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from fastapi import APIRouter, Request, Response
from fastapi.responses import RedirectResponse

from services.dashboard.answers import Ad, Ads
from services.dashboard.reviewing import by_query
from services.dashboard.routes.site import PageProblem, Site, identifier
from services.dashboard.suite import Answer, Suite
from shared.contracts.augmentation import DocumentLabels
from shared.contracts.document import Document
from shared.contracts.reviews import Review

_COMPETING_QUERIES = 4
_COMPETING_ADS = 5
_SEEN_ADS = 100
"""So deep is the document's own place looked for."""


@dataclass(frozen=True)
class Competition:
    """A query, and the ads that answer it best.

    Args:
        query: is asked.
        why: it is.
        answer: the best ads.
        place: of the document among all that were looked through, from 1.
        own: the document's own ad, where it is behind the best.
    """

    query: str
    why: str
    answer: Answer[Ads]
    place: int | None = None
    own: Ad | None = None


def document_routes(site: Site, suite: Suite) -> APIRouter:
    """Return the routes."""
    router = APIRouter(include_in_schema=False)
    seconds = site.settings.page_seconds

    @router.get("/documents")
    async def look_up(request: Request, id: str = "") -> Response:
        """Ask for an id."""
        if id.strip():
            return RedirectResponse(f"/documents/{identifier(id.strip())}", status_code=303)
        return site.page(request, "documents.html")

    @router.get("/documents/{document_id}")
    async def document(request: Request, document_id: str) -> Response:
        """Show all that is known of a document."""
        path = f"/v1/documents/{identifier(document_id)}"
        found, labels, reviews = await asyncio.gather(
            suite.read(Document, "augmentation", path, seconds=seconds),
            suite.read(DocumentLabels, "augmentation", f"{path}/labels", seconds=seconds),
            suite.lines(
                Review,
                "augmentation",
                "/v1/reviews",
                seconds=seconds,
                limit=1_000,
                params={"document_id": document_id},
            ),
        )
        if found.value is None:
            raise PageProblem(found.line, found.status or 502)
        competition = await asyncio.gather(
            *(
                _competition(query, why, document_id)
                for query, why in _queries_of(found.value, labels.value)
            )
        )
        return site.page(
            request,
            "document.html",
            document=found.value,
            labels=labels,
            reviews=reviews,
            verdicts=by_query(reviews.value or []),
            outlived=_outlived(reviews.value or [], labels.value),
            competition=competition,
        )

    async def _competition(query: str, why: str, document_id: str) -> Competition:
        answer = await suite.read(
            Ads,
            "inference",
            "/v1/ads",
            seconds=seconds,
            params={"query": query[:1_000], "k": _SEEN_ADS},
        )
        if answer.value is None:
            return Competition(query, why, answer)
        ads, place = answer.value.ads, answer.value.place_of(document_id)
        best = Answer(answer.value.model_copy(update={"ads": ads[:_COMPETING_ADS]}))
        own = ads[place - 1] if place and place > _COMPETING_ADS else None
        return Competition(query, why, best, place, own)

    return router


def _outlived(reviews: Sequence[Review], labels: DocumentLabels | None) -> list[Review]:
    """Return the verdicts on labels that a document does not have any more."""
    there = {each.query_id for each in labels.labels} if labels else set()
    return [each for each in reviews if each.query_id not in there]


def _queries_of(document: Document, labels: DocumentLabels | None) -> list[tuple[str, str]]:
    """Return what a document should be found by: its title, then its most similar train queries."""
    queries = {document.title: "its title"}
    for each in labels.labels if labels else ():
        queries.setdefault(each.query, "train query")
    return list(queries.items())[:_COMPETING_QUERIES]
