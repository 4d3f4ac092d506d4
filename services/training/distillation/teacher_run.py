"""Asks a teacher about a whole data set: several at once, with retries, within a budget, resumable."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Protocol

from services.training.distillation.budget import Budget, Cost, LimitName
from services.training.distillation.journal import Journal
from services.training.distillation.settings import TeacherSettings
from services.training.distillation.teacher import Reply, TeacherClient, TryLater
from services.training.distillation.teacher_answers import parse_answer
from services.training.distillation.teacher_data import TeacherAnswer
from services.training.distillation.teacher_prompts import Prompt, TeacherPrompts
from shared.contracts.document import Document
from shared.errors import SkimError, Unavailable

_FIRST_WAIT_SECONDS, _LONGEST_BACKOFF_SECONDS = 1.0, 60.0
_TOKENS_OF_A_TEMPLATE, _TOKENS_OF_A_MESSAGE = 256, 16
"""Generous room for what an endpoint wraps around our text."""
_MOST_IN_VAIN = 10
"""So many documents in a row without a query: the endpoint or the prompt is at fault, not they."""


class Clock(Protocol):
    """What a run needs of time."""

    def now(self) -> float:
        """Return seconds that only differences are taken of."""

    async def wait(self, event: asyncio.Event, seconds: float) -> None:
        """Return when the event is set or the time is over."""


class SystemClock:
    """The real one."""

    def now(self) -> float:
        """Return seconds that only differences are taken of."""
        return time.monotonic()

    async def wait(self, event: asyncio.Event, seconds: float) -> None:
        """Return when the event is set or the time is over."""
        with suppress(TimeoutError):
            await asyncio.wait_for(event.wait(), seconds)


@dataclass(frozen=True)
class Standing:
    """Where a run stands. Costs are of all runs with the same files."""

    done: int
    """Documents with an answer or a refusal, earlier runs included."""
    total: int
    calls: int
    tokens: int
    money: float
    tokens_in_all: int | None
    """Expected when all are done, None while nothing is known."""
    money_in_all: float | None
    """Likewise."""


@dataclass(frozen=True)
class Outcome:
    """How a run ended."""

    standing: Standing
    asked: int
    """Documents answered or refused in this run."""
    refused: list[str]
    """Ids of all documents without a usable answer, earlier runs included."""
    unanswered: list[str]
    """Ids that every attempt failed for; the next run asks them again."""
    stopped_by: LimitName | None
    """The limit that ended the run."""


class TeacherRun:
    """Asks about the documents of `prompts` that have no answer yet.

    Answers are appended as they come. When a limit is reached or the endpoint turns us away, no request
    is begun any more, and those under way are still taken down: they are paid for.

    Args:
        client: the teacher.
        settings: attempts, waits, prices and how many requests may be under way at once.
        answers: grows by a line for each document.
        budget: grants every call.
        clock: the time, and waiting.
        tell: called after every document.
    """

    def __init__(
        self,
        client: TeacherClient,
        settings: TeacherSettings,
        answers: Journal[TeacherAnswer],
        budget: Budget,
        *,
        clock: Clock | None = None,
        tell: Callable[[Standing], None] = lambda standing: None,
    ) -> None:
        self._client, self._settings = client, settings
        self._answers, self._budget = answers, budget
        self._clock = clock or SystemClock()
        self._tell = tell
        self._is_refused = {row.id: row.refused is not None for row in answers.rows()}
        self._before = replace(budget.spent)
        self._stop = asyncio.Event()
        self._error: SkimError | None = None
        self._not_before = 0.0
        self._in_vain = 0
        self._asked = 0
        self._done = self._total = 0
        self._unanswered: list[str] = []

    async def ask(self, prompts: TeacherPrompts, limit: int | None = None) -> Outcome:
        """Ask about all documents, or the first `limit` of them.

        Raises:
            SkimError: the endpoint turned a request away for good, or a file cannot be written.
            Unavailable: it does not answer, gives nothing usable, or asks for a very long pause.
        """
        wanted = prompts.documents[:limit]
        waiting = [document for document in wanted if document.id not in self._is_refused]
        self._total, self._done = len(wanted), len(wanted) - len(waiting)
        queue = iter(waiting)
        async with asyncio.TaskGroup() as workers:
            for _ in range(min(self._settings.concurrency, len(waiting))):
                workers.create_task(self._work(queue, prompts))
        if self._error is not None:
            raise self._error
        wanted_ids = {document.id for document in wanted}
        refused = [key for key, value in self._is_refused.items() if value and key in wanted_ids]
        return Outcome(
            self._standing(), self._asked, refused, self._unanswered, self._budget.reached
        )

    async def _work(self, queue: Iterator[Document], prompts: TeacherPrompts) -> None:
        for document in queue:
            if self._stop.is_set():
                return
            try:
                await self._ask_about(prompts.prompt_of(document))
            except SkimError as error:
                self._end(error)

    async def _ask_about(self, prompt: Prompt) -> None:
        failure: TryLater | None = None
        for attempt in range(self._settings.attempts):
            if failure is not None and not failure.wait_seconds:
                backoff = _FIRST_WAIT_SECONDS * 2.0 ** (attempt - 1)
                await self._clock.wait(self._stop, min(backoff, _LONGEST_BACKOFF_SECONDS))
            reserved = await self._reserve(prompt)
            if reserved is None:
                return
            try:
                reply = await self._client.ask(prompt.messages)
            except TryLater as error:
                failure = error
                self._close_failed(reserved, is_free=error.is_free)
                self._heed(error)
            except SkimError:
                self._close_failed(reserved, is_free=True)
                raise
            else:
                self._take_down(prompt, reply, reserved)
                return
        self._unanswered.append(prompt.document.id)
        self._count_in_vain(str(failure))

    async def _reserve(self, prompt: Prompt) -> Cost | None:
        """Reserve the most a call can cost, as soon as the endpoint wants one; None at the end."""
        tokens_in = _TOKENS_OF_A_TEMPLATE + sum(
            len(message["content"].encode()) + _TOKENS_OF_A_MESSAGE  # no token is below a byte
            for message in prompt.messages
        )
        tokens_out = self._settings.max_tokens
        money = self._price(tokens_in, tokens_out)
        while True:
            while (
                seconds := self._not_before - self._clock.now()
            ) > 0 and not self._stop.is_set():
                await self._clock.wait(self._stop, seconds)  # others may have moved it meanwhile
            if self._stop.is_set():
                return None
            reserved = self._budget.reserve(
                tokens_in=tokens_in, tokens_out=tokens_out, money=money
            )
            if reserved is not None:
                return reserved
            if self._budget.reached is not None:
                self._stop.set()
                return None
            await self._budget.change()

    def _heed(self, failure: TryLater) -> None:
        """Let nobody ask again before the endpoint wants it."""
        if not failure.wait_seconds:
            return
        if failure.wait_seconds > self._settings.longest_wait_seconds:
            raise Unavailable(f"{failure}; it asks us to wait {failure.wait_seconds:.0f} seconds")
        self._not_before = max(self._not_before, self._clock.now() + failure.wait_seconds)

    def _close_failed(self, reserved: Cost, *, is_free: bool) -> None:
        if is_free:
            self._budget.waive(reserved)
        else:
            self._budget.close(reserved)

    def _take_down(self, prompt: Prompt, reply: Reply, reserved: Cost) -> None:
        queries = parse_answer(
            reply.text, prompt.document, prompt.known, is_finished=reply.is_finished
        )
        cost = self._cost_of(reply, reserved)
        answer = TeacherAnswer(
            id=prompt.document.id,
            refused=None if queries else reply.remark,
            queries=queries,
            model=self._settings.model,
            cost=cost,
        )
        try:
            self._answers.append(answer)
        finally:
            self._budget.close(cost)
        self._is_refused[answer.id] = not queries
        self._asked += 1
        self._done += 1
        self._tell(self._standing())
        if queries:
            self._in_vain = 0
        else:
            self._count_in_vain(reply.remark)

    def _cost_of(self, reply: Reply, reserved: Cost) -> Cost:
        if reply.tokens_in is None or reply.tokens_out is None:
            return reserved
        return Cost(
            call=reserved.call,
            tokens_in=reply.tokens_in,
            tokens_out=reply.tokens_out,
            money=self._price(reply.tokens_in, reply.tokens_out),
        )

    def _price(self, tokens_in: int, tokens_out: int) -> float:
        settings = self._settings
        return (tokens_in * settings.price_in + tokens_out * settings.price_out) / 1_000_000

    def _count_in_vain(self, reason: str) -> None:
        self._in_vain += 1
        if self._in_vain >= _MOST_IN_VAIN:
            raise Unavailable(f"{self._in_vain} documents in a row got no queries, last: {reason}")

    def _end(self, error: SkimError) -> None:
        self._error = self._error or error
        self._stop.set()

    def _standing(self) -> Standing:
        spent, before = self._budget.spent, self._before
        tokens_in_all = money_in_all = None
        if self._asked:
            share = (self._total - self._done) / self._asked
            tokens_in_all = round(spent.tokens + share * (spent.tokens - before.tokens))
            money_in_all = spent.money + share * (spent.money - before.money)
        return Standing(
            done=self._done,
            total=self._total,
            calls=spent.calls,
            tokens=spent.tokens,
            money=spent.money,
            tokens_in_all=tokens_in_all,
            money_in_all=money_in_all,
        )
