"""Takes documents into the running batch while there is room, and follows each to its end."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Sequence
from functools import partial

from services.generation.admission import Admission
from services.generation.generator import Generated, QueryGenerator
from services.generation.metrics import GenerationMetrics, Outcome
from shared.contracts.document import Document
from shared.contracts.generation import GenerateRequest
from shared.errors import Expired, SkimError

Writing = asyncio.Task[Generated]


class Reception:
    """Makes a task of each document. Its place is free when its task is done, whatever ended it.

    Args:
        admission: the places.
        metrics: count what became of each document.
        timeout_seconds: longest a document may take.
    """

    def __init__(
        self, admission: Admission, metrics: GenerationMetrics, *, timeout_seconds: float
    ) -> None:
        self._admission = admission
        self._metrics = metrics
        self._timeout_seconds = timeout_seconds
        self._writings: set[Writing] = set()

    def take_in(self, generator: QueryGenerator, request: GenerateRequest) -> list[Writing]:
        """Return the task of each document, in the order given.

        Raises:
            Unavailable: there is no room for all of them now, so none was taken in.
            TooLarge: there never will be.
        """
        try:
            self._admission.enter(len(request.documents))
        except SkimError:
            self._metrics.count(Outcome.REFUSED, len(request.documents))
            raise
        return [self._start(generator, document, request) for document in request.documents]

    async def close(self) -> None:
        """Let go of what is still being written."""
        writings = list(self._writings)
        for writing in writings:
            writing.cancel()
        await asyncio.gather(*writings, return_exceptions=True)

    def _start(
        self, generator: QueryGenerator, document: Document, request: GenerateRequest
    ) -> Writing:
        writing = asyncio.create_task(
            generator.write(
                document,
                known=request.known_queries.get(document.id, ()),
                seed=request.seed,
                seconds=min(
                    request.timeout_seconds or self._timeout_seconds, self._timeout_seconds
                ),
            )
        )
        self._writings.add(writing)
        writing.add_done_callback(partial(self._settle, time.monotonic()))
        return writing

    def _settle(self, arrived: float, writing: Writing) -> None:
        self._writings.discard(writing)
        outcome = _outcome_of(writing)
        self._admission.leave(is_written=outcome is Outcome.WRITTEN)
        self._metrics.count(outcome)
        if outcome is Outcome.WRITTEN:
            self._metrics.written(writing.result(), arrived=arrived, finished=time.monotonic())


async def as_they_finish(
    writings: Sequence[Writing], left: asyncio.Task[None]
) -> AsyncGenerator[Writing]:
    """Yield each task when it is done; end early, and cancel what is not done, once `left` is done."""
    still_open = set(writings)
    try:
        while still_open:
            done, _ = await asyncio.wait({*still_open, left}, return_when="FIRST_COMPLETED")
            if left in done:
                return
            still_open -= done
            for writing in writings:
                if writing in done:
                    yield writing
    finally:
        for task in (*writings, left):
            task.cancel()


def _outcome_of(writing: Writing) -> Outcome:
    if writing.cancelled():
        return Outcome.CANCELLED
    error = writing.exception()
    if error is None:
        return Outcome.WRITTEN
    return Outcome.EXPIRED if isinstance(error, Expired) else Outcome.FAILED
