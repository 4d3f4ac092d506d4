"""The decoding thread: requests from other threads and from asyncio."""

import asyncio
import threading
from collections.abc import Iterator

import pytest

from services.generation.batching import Batcher, StepReport
from services.generation.loop import DecodingLoop
from services.generation.requests import Request
from services.generation.sampling import Sampling
from shared.errors import Unavailable
from tests.support.fake_decoder import END, FakeDecoder, written_alone

REPORTS = list[StepReport]


def _request(prompt: list[int], limit: int = 20) -> Request:
    return Request(prompt, frozenset({END}), Sampling(temperature=0, max_new_tokens=limit))


@pytest.fixture
def decoder() -> FakeDecoder:
    return FakeDecoder(rows=4, capacity=10_000)


@pytest.fixture
def reports() -> REPORTS:
    return []


@pytest.fixture
def loop(decoder: FakeDecoder, reports: REPORTS) -> Iterator[DecodingLoop]:
    loop = DecodingLoop(Batcher(decoder, lambda ids: ""), reports.append)
    loop.start()
    yield loop
    loop.close()


def test_many_threads_each_get_their_own(loop: DecodingLoop) -> None:
    answers: dict[int, list[int]] = {}

    def ask(n: int) -> None:
        answers[n] = loop.submit(_request([n, n + 1])).result(timeout=20)[0].ids

    threads = [threading.Thread(target=ask, args=(n,)) for n in range(1, 30)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)

    assert answers == {n: written_alone([n, n + 1], 20) for n in range(1, 30)}


def test_asyncio_can_wait_for_a_ticket(loop: DecodingLoop) -> None:
    async def ask() -> list[int]:
        completions = await asyncio.wrap_future(loop.submit(_request([3, 1])))
        return completions[0].ids

    assert asyncio.run(ask()) == written_alone([3, 1], 20)


def test_a_task_that_is_cancelled_frees_its_row(loop: DecodingLoop, reports: REPORTS) -> None:
    started, left = threading.Event(), threading.Event()

    def write_on_when_the_reader_left(*_: object) -> None:
        started.set()
        left.wait(20)

    endless = Request(
        [3, 1],
        frozenset(),
        Sampling(temperature=0, max_new_tokens=9_000),
        on_token=write_on_when_the_reader_left,
    )

    async def ask_and_leave() -> None:
        ticket = loop.submit(endless)
        task = asyncio.ensure_future(asyncio.wrap_future(ticket))
        await asyncio.to_thread(started.wait, 10)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        while not ticket.cancelled():  # asyncio hands it on in a later turn of its loop
            await asyncio.sleep(0.001)
        left.set()

    asyncio.run(ask_and_leave())

    # The report of a step comes behind its results: with the second answer the first one's is there.
    loop.submit(_request([5], limit=1)).result(timeout=20)
    loop.submit(_request([5], limit=1)).result(timeout=20)
    assert reports[-1].active == 0
    assert len(reports) < 100


def test_a_failed_step_is_told_and_the_loop_lives_on(
    loop: DecodingLoop, decoder: FakeDecoder
) -> None:
    decoder.failures.append(RuntimeError("broken"))

    with pytest.raises(Unavailable, match="broken"):
        loop.submit(_request([3, 1])).result(timeout=20)

    assert loop.submit(_request([5])).result(timeout=20)[0].ids == written_alone([5], 20)


def test_a_listener_of_steps_that_raises_leaves_nobody_waiting(decoder: FakeDecoder) -> None:
    def fail(report: StepReport) -> None:
        raise ValueError("no metrics")

    loop = DecodingLoop(Batcher(decoder, lambda ids: ""), fail)
    loop.start()

    with pytest.raises(ValueError, match="no metrics"):
        loop.submit(_request([3, 1])).result(timeout=20)
    loop.close()


def test_closing_tells_those_who_wait_and_refuses_the_next(decoder: FakeDecoder) -> None:
    loop = DecodingLoop(Batcher(decoder, lambda ids: ""))
    ticket = loop.submit(_request([3, 1]))  # the loop has not started: it waits

    loop.start()
    loop.close()

    with pytest.raises(Unavailable, match="closed"):
        loop.submit(_request([5]))
    assert ticket.done()
