"""Queries in, ads out: `GET /v1/ads`, `POST /v1/ads:batch`, one ad, and why it has its score."""

from __future__ import annotations

import asyncio

from fastapi import APIRouter, Request, Response

from services.inference.admission import ClientLeft
from services.inference.retriever import explain
from services.inference.routes.answering import (
    AdsParameters,
    Answer,
    Answering,
    Asked,
    FieldNames,
    FilterJson,
    K,
    Milliseconds,
)
from services.inference.routes.lane import ADS, CLIENT_LEFT, leaving
from services.inference.serving import Serving
from services.inference.view import View
from shared.contracts.base import Identifier, QueryText
from shared.contracts.inference import (
    Ad,
    AdResponse,
    AdsBatch,
    AdsBatchResponse,
    AdsResponse,
    Explanation,
    Filter,
)
from shared.errors import NotFound
from shared.web.middleware import request_id_of
from shared.web.openapi import schema_of

_FILTER = {
    "name": "filter",
    "in": "query",
    "required": False,
    "description": "JSON of at most 10,000 characters, metadata field to value or condition: "
    '`{"brand": "acme", "price": {"gte": 5, "lt": 20}, "color": {"in": ["red"]}}`.',
    "content": {"application/json": {"schema": schema_of(Filter)}},
}


def ads_router(serving: Serving, answering: Answering) -> APIRouter:
    """Return the routes that answer queries."""
    router = APIRouter(tags=["ads"])

    # orjson instead of a response model is a third more requests a second; the model documents.
    @router.get(ADS, response_model=AdsResponse, openapi_extra={"parameters": [_FILTER]})
    async def top_ads(
        request: Request,
        query: Asked,
        k: K = 10,
        filter: FilterJson = None,  # `_FILTER` tells of it
        fields: FieldNames = None,
        timeout_ms: Milliseconds = None,
    ) -> Response:
        """Give the top ads of a query, best first; `Server-Timing` says where the time went.

        With exploration some places have an ad drawn at random among those that may be returned: it has `propensity` and `slot`.
        """
        asked = AdsParameters.model_construct(
            query=query, k=k, filter=filter, fields=fields, timeout_ms=timeout_ms
        )
        name = request_id_of(request.scope)
        try:
            return _response(await answering.one(asked, name, leaving(request.receive)))
        except ClientLeft:
            return Response(status_code=CLIENT_LEFT)

    @router.post("/v1/ads:batch", response_model=AdsBatchResponse)
    async def batch(request: Request, body: AdsBatch) -> Response:
        """Give the top ads of several queries: all answers, of one state of the ads, or an error.

        No place is drawn at random here: a page that is shown, and whose clicks are told, asks `GET /v1/ads`.
        """
        try:
            return _response(await answering.many(body, leaving(request.receive)))
        except ClientLeft:
            return Response(status_code=CLIENT_LEFT)

    @router.get("/v1/ads/{ad_id}", response_model_exclude_none=True)
    async def one_ad(ad_id: Identifier) -> AdResponse:
        """Give one ad as it is served."""
        view, position = await _found(serving, ad_id)
        return AdResponse(
            generation=view.generation.name, ad=Ad.model_validate_json(view.row(position))
        )

    @router.get("/v1/ads/{ad_id}/explain")
    async def explained(ad_id: Identifier, query: QueryText) -> Explanation:
        """Say what an ad's score for a query adds up from, and what taught it."""
        view, position = await _found(serving, ad_id)
        _, explanation = await serving.admission.run(
            serving.settings.timeout_ms / 1000, None, explain, view, position, query
        )
        return explanation

    return router


async def _found(serving: Serving, ad_id: str) -> tuple[View, int]:
    name = serving.generations.view().generation.name
    found = await asyncio.to_thread(serving.generations.ads.document, ad_id)
    if found is None:
        raise NotFound(f"bundle {name} has no ad {ad_id!r}, nor was one put")
    return found


def _response(answer: Answer) -> Response:
    return Response(
        answer.body, media_type="application/json", headers={"server-timing": answer.timing}
    )
