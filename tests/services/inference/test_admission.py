import asyncio
import threading
from collections.abc import Awaitable, Callable

import pytest

from services.inference.admission import Admission, ClientLeft
from shared.errors import Unavailable
from tests.support.asgi import until


class Clock:
    """Stands until it is moved."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class Held:
    """Work that is done when the gate opens."""

    def __init__(self) -> None:
        self.gate, self.begun = threading.Event(), 0

    def __call__(self) -> str:
        self.begun += 1
        assert self.gate.wait(30)
        return "done"


async def never() -> None:
    await asyncio.Event().wait()


def in_a_loop(work: Callable[[Clock, Held], Awaitable[None]]) -> None:
    asyncio.run(asyncio.wait_for(work(Clock(), Held()), 20))


def admission(clock: Clock, *, max_waiting: int = 10, service_seconds: float = 0.0) -> Admission:
    made = Admission(threads=1, max_waiting=max_waiting, clock=clock)
    made.service_seconds = made.cost_seconds = service_seconds
    return made


def test_work_is_done_in_order_and_says_how_long_it_waited() -> None:
    async def work(clock: Clock, held: Held) -> None:
        gate = admission(clock)
        tasks = [asyncio.ensure_future(gate.run(9.0, None, held)) for _ in range(3)]
        await until(lambda: gate.waiting == 2 and held.begun == 1)
        clock.now = 2.0
        held.gate.set()

        assert await asyncio.gather(*tasks) == [(0.0, "done"), (2.0, "done"), (2.0, "done")]
        gate.close()

    in_a_loop(work)


def test_who_cannot_be_answered_in_time_is_refused_at_once() -> None:
    async def work(clock: Clock, held: Held) -> None:
        gate = admission(clock, service_seconds=1.0)
        first = asyncio.ensure_future(gate.run(9.0, None, held))
        second = asyncio.ensure_future(gate.run(9.0, None, held))
        await until(lambda: gate.waiting == 1)
        with pytest.raises(Unavailable, match="2000 ms; 3500 ms") as refused:
            await gate.run(3.5, None, held)
        assert refused.value.retry_after_seconds == 2
        third = asyncio.ensure_future(gate.run(6.5, None, held))
        await until(lambda: gate.waiting == 2)
        held.gate.set()

        await asyncio.gather(first, second, third)
        assert held.begun == 3
        gate.close()

    in_a_loop(work)


def test_what_slows_the_process_down_beside_the_work_itself_counts() -> None:
    async def work(clock: Clock, held: Held) -> None:
        gate = admission(clock, service_seconds=0.001)
        gate.pace_seconds = 2.0
        first = asyncio.ensure_future(gate.run(9.0, None, held))
        await until(lambda: held.begun == 1)
        with pytest.raises(Unavailable, match="for 2000 ms"):
            await gate.run(2.0, None, held)
        second = asyncio.ensure_future(gate.run(9.0, None, held))
        third = asyncio.ensure_future(gate.run(9.0, None, held))
        await until(lambda: gate.waiting == 2)
        clock.now = 1.0
        held.gate.set()
        await asyncio.gather(first, second, third)

        assert gate.pace_seconds < 2.0  # two ended at the same moment: the pace is learnt
        gate.close()

    in_a_loop(work)


def test_a_free_thread_refuses_nobody() -> None:
    async def work(clock: Clock, held: Held) -> None:
        gate = admission(clock, max_waiting=0, service_seconds=60.0)
        held.gate.set()

        assert await gate.run(0.001, None, held) == (0.0, "done")
        gate.close()

    in_a_loop(work)


def test_who_waited_past_the_deadline_is_not_worked_on() -> None:
    async def work(clock: Clock, held: Held) -> None:
        gate = admission(clock)
        first = asyncio.ensure_future(gate.run(9.0, None, held))
        second = asyncio.ensure_future(gate.run(1.0, None, held))
        third = asyncio.ensure_future(gate.run(9.0, None, held))
        await until(lambda: gate.waiting == 2 and held.begun == 1)
        clock.now = 3.0
        held.gate.set()

        with pytest.raises(Unavailable, match="after its deadline"):
            await second
        await asyncio.gather(first, third)
        assert held.begun == 2
        gate.close()

    in_a_loop(work)


def test_a_full_queue_refuses_whatever_the_deadline() -> None:
    async def work(clock: Clock, held: Held) -> None:
        gate = admission(clock, max_waiting=1)
        tasks = [asyncio.ensure_future(gate.run(9.0, None, held)) for _ in range(2)]
        await until(lambda: gate.waiting == 1)
        with pytest.raises(Unavailable, match="full"):
            await gate.run(9.0, None, held)
        held.gate.set()
        await asyncio.gather(*tasks)
        gate.close()

    in_a_loop(work)


def test_who_leaves_or_is_cancelled_while_waiting_gives_up_the_place() -> None:
    async def work(clock: Clock, held: Held) -> None:
        gate, left = admission(clock), asyncio.Event()
        first = asyncio.ensure_future(gate.run(9.0, never, held))
        leaver = asyncio.ensure_future(gate.run(9.0, left.wait, held))
        cancelled = asyncio.ensure_future(gate.run(9.0, never, held))
        last = asyncio.ensure_future(gate.run(9.0, never, held))
        await until(lambda: gate.waiting == 3)
        left.set()
        with pytest.raises(ClientLeft):
            await leaver
        cancelled.cancel()
        await until(lambda: gate.waiting == 1)
        held.gate.set()

        await asyncio.gather(first, last)
        assert held.begun == 2
        assert await gate.run(9.0, never, held) == (0.0, "done")
        gate.close()

    in_a_loop(work)


def test_work_that_fails_gives_its_thread_to_the_next() -> None:
    async def work(clock: Clock, held: Held) -> None:
        gate = admission(clock)
        held.gate.set()

        def fail() -> None:
            raise ValueError("unlucky")

        failed = asyncio.ensure_future(gate.run(9.0, None, fail))
        done = asyncio.ensure_future(gate.run(9.0, None, held))
        with pytest.raises(ValueError, match="unlucky"):
            await failed
        assert (await done)[1] == "done"
        gate.close()

    in_a_loop(work)
