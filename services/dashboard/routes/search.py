"""The search playground: a query's ads, from one bundle or from two side by side, filtered and explained."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from fastapi import APIRouter, Request, Response

from services.dashboard.answers import Ads, Explanation
from services.dashboard.routes.site import Site, identifier
from services.dashboard.suite import Answer, Suite

COMPARISON = "comparison"
"""Name of the second inference service."""
_MOST = 100


@dataclass(frozen=True)
class Column:
    """What one bundle answers."""

    name: str
    answer: Answer[Ads]
    line: str = ""
    """What the answer does not do of what was asked."""


def search_routes(site: Site, suite: Suite) -> APIRouter:
    """Return the routes."""
    router = APIRouter(include_in_schema=False)
    seconds = site.settings.page_seconds
    names = ["inference", *([COMPARISON] if COMPARISON in suite.urls else [])]

    @router.get("/search")
    async def search(
        request: Request, query: str = "", k: str = "10", filter: str = "", explain: str = ""
    ) -> Response:
        """Ask for ads."""
        query, filter = query.strip()[:1_000], filter.strip()
        size = min(max(int(k), 1), _MOST) if k.isdecimal() and len(k) < 5 else 10
        columns = (
            await asyncio.gather(*(_column(name, query, size, filter) for name in names))
            if query
            else []
        )
        explanation = None
        if query and explain:
            explanation = await suite.read(
                Explanation,
                "inference",
                f"/v1/ads/{identifier(explain)}/explain",
                seconds=seconds,
                params={"query": query},
            )
        return site.page(
            request,
            "search.html",
            query=query,
            k=size,
            filter=filter,
            explain=explain,
            columns=columns,
            is_alone=len(names) == 1,
            explanation=explanation,
        )

    async def _column(name: str, query: str, size: int, filter: str) -> Column:
        params: dict[str, str | int] = {"query": query, "k": size}
        if filter:
            params["filter"] = filter
        answer = await suite.read(Ads, name, "/v1/ads", seconds=seconds, params=params)
        ignored = filter and answer.value is not None and answer.value.ads_version is None
        line = "This inference service does not filter: these are the ads without it."
        return Column(name, answer, line if ignored else "")

    return router
