"""Answers of queries as JSON: from the cache or from a thread, within their deadline, counted."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import Annotated, TypeVar

import orjson
from fastapi import Query
from pydantic import BaseModel, ValidationError

from services.inference.admission import ClientLeft
from services.inference.event_desk import EventDesk
from services.inference.filters import Conditions, conditions_of
from services.inference.retriever import Question, Ranking, ranking_of, vectors_of
from services.inference.serving import Serving
from services.inference.view import View
from shared.contracts.base import QueryText
from shared.contracts.inference import FILTER, MAX_K, AdsBatch
from shared.errors import InvalidInput, Unavailable

Asked = Annotated[QueryText, Query(description="What the user typed.")]
K = Annotated[int, Query(ge=1, le=MAX_K, description="How many ads.")]
FilterJson = Annotated[str | None, Query(max_length=10_000, include_in_schema=False)]
FieldNames = Annotated[
    str | None,
    Query(max_length=10_000, description="Comma-separated: `text`, names of metadata."),
]
Milliseconds = Annotated[
    int | None,
    Query(ge=1, le=60_000, description="Longest the answer may take; else 503 at once."),
]
HasLeft = Callable[[], Awaitable[object]]
_Result = TypeVar("_Result")


class AdsParameters(BaseModel):
    """What follows the question mark of `GET /v1/ads`; parameters that are not known are not looked at."""

    query: Asked
    k: K = 10
    filter: FilterJson = None
    fields: FieldNames = None
    timeout_ms: Milliseconds = None


@dataclass(frozen=True, slots=True)
class Answer:
    """A body, and its `Server-Timing`."""

    body: bytes
    timing: str


class Answering:
    """Answers queries, for whichever route they came by.

    Args:
        serving: of the service.
        desk: says which places get an ad drawn at random.
    """

    def __init__(self, serving: Serving, desk: EventDesk | None = None) -> None:
        self._serving, self._desk = serving, desk

    async def one(
        self, asked: AdsParameters, name: str, has_left: HasLeft, *, alone: bool = False
    ) -> Answer:
        """Return the top ads of a query.

        Args:
            asked: the query.
            name: of the answer; events repeat it.
            has_left: returns once nobody waits.
            alone: whoever asks has the only connection.

        Raises:
            InvalidInput: the filter is at fault.
            Unavailable: there is no room, or nothing to answer from.
            ClientLeft: nobody waits any more.
        """
        started = time.perf_counter()
        serving = self._serving
        view = serving.generations.view()
        key = (asked.query, asked.k, asked.filter, asked.fields)
        draw = None if self._desk is None else self._desk.draw(asked.query, asked.k, name)
        # What is drawn is drawn for this answer alone: it neither comes from the cache nor goes into it.
        ads = serving.cache.get(view, key) if draw is None else None
        timing = "cache;desc=hit"
        if ads is None:
            question = Question(
                view,
                asked.query,
                asked.k,
                _conditions_of(asked.filter),
                _names_of(asked.fields),
                draw,
            )
            ads, timing = await self._ads_of(question, asked.timeout_ms, has_left, alone=alone)
            if draw is None:
                serving.cache.put(view, key, ads)
        else:
            serving.cached.inc()
        named = b',"request":%b,"query":%b,"ads":' % (
            orjson.dumps(name),
            orjson.dumps(asked.query),
        )
        return Answer(_head(view) + named + ads + _took(started), timing)

    async def many(self, batch: AdsBatch, has_left: HasLeft) -> Answer:
        """Return the top ads of several queries: all, of one state of the ads, or an error; raises as `one`.

        No place is drawn at random here: a page that is shown, and whose clicks are told, asks one by one.
        """
        started = time.perf_counter()
        view = self._serving.generations.view()
        questions = [
            Question(
                view,
                each.query,
                each.k,
                None if each.filter is None else conditions_of(each.filter),
                each.fields,
            )
            for each in batch.queries
        ]
        answers = await _together(
            [self._ads_of(each, batch.timeout_ms, has_left) for each in questions]
        )
        parts = [
            b'{"query":' + orjson.dumps(asked.query) + b',"ads":' + ads + b"}"
            for asked, (ads, _) in zip(batch.queries, answers, strict=True)
        ]
        content = _head(view) + b',"answers":[' + b",".join(parts) + b"]"
        return Answer(content + _took(started), answers[-1][1])

    async def _ads_of(
        self,
        question: Question,
        timeout_ms: int | None,
        has_left: HasLeft,
        *,
        alone: bool = False,
    ) -> tuple[bytes, str]:
        """Return the ads of a query as JSON, with its `Server-Timing`."""
        serving = self._serving
        seconds = (timeout_ms or serving.settings.timeout_ms) / 1000
        try:
            waited, (ads, ranking) = await serving.admission.run_together(
                seconds, has_left, answers_of, question, alone=alone
            )
        except Unavailable:
            serving.refused_full.inc()
            raise
        except ClientLeft:
            serving.refused_left.inc()
            raise
        serving.searched.inc()
        return ads, serving.stages.observe(queue=waited, **ranking.seconds)


async def _together(works: Sequence[Coroutine[object, object, _Result]]) -> list[_Result]:
    """Return the results of all; the first that fails ends the others, and is raised."""
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(work) for work in works]
    except ExceptionGroup as errors:
        raise errors.exceptions[0] from None
    return [task.result() for task in tasks]


def answers_of(asked: Sequence[Question]) -> list[tuple[bytes, Ranking] | Exception]:
    """Rank, and write the ads as JSON in the same thread; an error is its query's alone."""
    tops: dict[int, tuple[bytes, Ranking]] = {}
    try:
        for each, vector, seconds in vectors_of(asked):
            ranking = ranking_of(each, vector, seconds)
            tops[id(each)] = orjson.dumps(ranking.ads), ranking
    except Exception as error:  # noqa: BLE001  (raised where its query waits)
        if len(asked) == 1:
            return [error]
        return [result for each in asked for result in answers_of([each])]
    return [tops[id(each)] for each in asked]


def _head(view: View) -> bytes:
    return b'{"generation":%b,"ads_version":%d' % (
        orjson.dumps(view.generation.name),
        view.version,
    )


def _took(started: float) -> bytes:
    return b',"took_ms":%.3f}' % ((time.perf_counter() - started) * 1000)


def _conditions_of(text: str | None) -> Conditions | None:
    if text is None:
        return None
    try:
        return conditions_of(FILTER.validate_json(text))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(["filter", *(str(part) for part in first["loc"])])
        raise InvalidInput(f"{where}: {first['msg']}") from error


def _names_of(fields: str | None) -> list[str]:
    return [] if fields is None else [name for each in fields.split(",") if (name := each.strip())]
