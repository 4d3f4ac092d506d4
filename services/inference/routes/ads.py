"""Queries in, ads out: `GET /v1/ads`, `POST /v1/ads:batch`, one ad, and why it has its score."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Annotated, TypeVar

import orjson
from fastapi import APIRouter, Query, Request, Response
from pydantic import ValidationError
from structlog.contextvars import get_contextvars

from services.inference.admission import ClientLeft
from services.inference.event_desk import EventDesk
from services.inference.exploration import Draw
from services.inference.filters import conditions_of
from services.inference.retriever import Ranking, explain, top
from services.inference.serving import Serving
from services.inference.view import View
from shared.contracts.base import Identifier, QueryText
from shared.contracts.document import Document
from shared.contracts.inference import (
    FILTER,
    MAX_K,
    AdResponse,
    AdsBatch,
    AdsBatchResponse,
    AdsQuery,
    AdsResponse,
    Explanation,
    Filter,
)
from shared.errors import InvalidInput, NotFound, Unavailable
from shared.web.openapi import schema_of

_CLIENT_LEFT = 499
"""nginx's status for a client that is gone; nobody reads it."""
_FILTER = {
    "name": "filter",
    "in": "query",
    "required": False,
    "description": "JSON of at most 10,000 characters, metadata field to value or condition: "
    '`{"brand": "acme", "price": {"gte": 5, "lt": 20}, "color": {"in": ["red"]}}`.',
    "content": {"application/json": {"schema": schema_of(Filter)}},
}
_Result = TypeVar("_Result")
Milliseconds = Annotated[
    int | None,
    Query(ge=1, le=60_000, description="Longest the answer may take; else 503 at once."),
]


def ads_router(serving: Serving, desk: EventDesk | None = None) -> APIRouter:
    """Return the routes that answer queries; the desk says which places get an ad drawn at random."""
    router = APIRouter(tags=["ads"])

    # orjson instead of a response model is a third more requests a second; the model documents.
    @router.get("/v1/ads", response_model=AdsResponse, openapi_extra={"parameters": [_FILTER]})
    async def top_ads(
        request: Request,
        query: Annotated[QueryText, Query(description="What the user typed.")],
        k: Annotated[int, Query(ge=1, le=MAX_K, description="How many ads.")] = 10,
        filter: Annotated[
            str | None, Query(max_length=10_000, include_in_schema=False)
        ] = None,  # `_FILTER` tells of it
        fields: Annotated[
            str | None,
            Query(max_length=10_000, description="Comma-separated: `text`, names of metadata."),
        ] = None,
        timeout_ms: Milliseconds = None,
    ) -> Response:
        """Give the top ads of a query, best first; `Server-Timing` says where the time went.

        With exploration some places have an ad drawn at random among those that may be returned: it has `propensity` and `slot`.
        """
        started = time.perf_counter()
        view = serving.generations.view()
        name = str(get_contextvars().get("request_id", ""))
        key = (query, k, filter, fields)
        draw = None if desk is None else desk.draw(query, k, name)
        # What is drawn is drawn for this answer alone: it neither comes from the cache nor goes into it.
        ads = serving.cache.get(view, key) if draw is None else None
        timing = "cache;desc=hit"
        if ads is None:
            asked = AdsQuery.model_construct(
                query=query, k=k, filter=_filter_of(filter), fields=_names_of(fields)
            )
            try:
                [(ads, timing)] = await _answer(
                    serving, view, [asked], timeout_ms, _leaving(request), draw
                )
            except ClientLeft:
                return Response(status_code=_CLIENT_LEFT)
            if draw is None:
                serving.cache.put(view, key, ads)
        else:
            serving.answers.labels("cache").inc()
        named = b',"request":%b,"query":%b,"ads":' % (orjson.dumps(name), orjson.dumps(query))
        return _response(_head(view) + named + ads, started, timing)

    @router.post("/v1/ads:batch", response_model=AdsBatchResponse)
    async def batch(request: Request, body: AdsBatch) -> Response:
        """Give the top ads of several queries: all answers, of one state of the ads, or an error.

        No place is drawn at random here: a page that is shown, and whose clicks are told, asks `GET /v1/ads`.
        """
        started = time.perf_counter()
        view = serving.generations.view()
        try:
            answers = await _answer(
                serving, view, body.queries, body.timeout_ms, _leaving(request)
            )
        except ClientLeft:
            return Response(status_code=_CLIENT_LEFT)
        parts = [
            b'{"query":' + orjson.dumps(asked.query) + b',"ads":' + ads + b"}"
            for asked, (ads, _) in zip(body.queries, answers, strict=True)
        ]
        content = _head(view) + b',"answers":[' + b",".join(parts) + b"]"
        return _response(content, started, answers[-1][1])

    @router.get("/v1/ads/{ad_id}")
    async def one_ad(ad_id: Identifier) -> AdResponse:
        """Give one ad as it is served."""
        view, position = await _found(serving, ad_id)
        return AdResponse(
            generation=view.generation.name, ad=Document.model_validate_json(view.row(position))
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


async def _answer(
    serving: Serving,
    view: View,
    queries: Sequence[AdsQuery],
    timeout_ms: int | None,
    has_left: Callable[[], Awaitable[object]],
    draw: Draw | None = None,
) -> list[tuple[bytes, str]]:
    """Return the ads of each query as JSON, with its `Server-Timing`; the first that fails ends all.

    With `draw` there is one query.
    """
    seconds = (timeout_ms or serving.settings.timeout_ms) / 1000

    async def _one(asked: AdsQuery) -> tuple[bytes, str]:
        conditions = None if asked.filter is None else conditions_of(asked.filter)
        waited, (ads, ranking) = await serving.admission.run(
            seconds, has_left, _top, view, asked.query, asked.k, conditions, asked.fields, draw
        )
        serving.answers.labels("search").inc()
        return ads, serving.stages.observe(queue=waited, **ranking.seconds)

    try:
        if len(queries) == 1:
            return [await _one(queries[0])]
        return await _together([_one(asked) for asked in queries])
    except Unavailable:
        serving.refusals.labels("full").inc()
        raise
    except ClientLeft:
        serving.refusals.labels("left").inc()
        raise


async def _together(works: Sequence[Coroutine[object, object, _Result]]) -> list[_Result]:
    """Return the results of all; the first that fails ends the others, and is raised."""
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(work) for work in works]
    except ExceptionGroup as errors:
        raise errors.exceptions[0] from None
    return [task.result() for task in tasks]


def _top(view: View, *asked: object) -> tuple[bytes, Ranking]:
    """Rank, and write the ads in the same thread."""
    ranking = top(view, *asked)  # type: ignore[arg-type]
    return orjson.dumps(ranking.ads), ranking


async def _found(serving: Serving, ad_id: str) -> tuple[View, int]:
    name = serving.generations.view().generation.name
    found = await asyncio.to_thread(serving.generations.ads.document, ad_id)
    if found is None:
        raise NotFound(f"bundle {name} has no ad {ad_id!r}, nor was one put")
    return found


def _leaving(request: Request) -> Callable[[], Awaitable[object]]:
    async def _until_gone() -> None:
        while (await request.receive())["type"] != "http.disconnect":
            pass

    return _until_gone


def _head(view: View) -> bytes:
    return b'{"generation":%b,"ads_version":%d' % (
        orjson.dumps(view.generation.name),
        view.version,
    )


def _response(body: bytes, started: float, timing: str) -> Response:
    took_ms = (time.perf_counter() - started) * 1000
    return Response(
        body + b',"took_ms":%.3f}' % took_ms,
        media_type="application/json",
        headers={"server-timing": timing},
    )


def _filter_of(text: str | None) -> Filter | None:
    if text is None:
        return None
    try:
        return FILTER.validate_json(text)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(["filter", *(str(part) for part in first["loc"])])
        raise InvalidInput(f"{where}: {first['msg']}") from error


def _names_of(fields: str | None) -> list[str]:
    return [] if fields is None else [name for each in fields.split(",") if (name := each.strip())]
