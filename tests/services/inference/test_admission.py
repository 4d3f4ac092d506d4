import asyncio
import gc
import threading
import weakref
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager, suppress

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


class Noted:
    """Work on several items, held until the gate opens; an item that is an error fails alone."""

    def __init__(self) -> None:
        self.gate, self.companies = threading.Event(), list[list[object]]()

    def __call__(self, items: Sequence[object]) -> list[str | Exception]:
        self.companies.append(list(items))
        assert self.gate.wait(30)
        return [item if isinstance(item, Exception) else f"{item} done" for item in items]


def test_what_waits_anyway_is_done_together_up_to_a_bound() -> None:
    async def work(clock: Clock, _: Held) -> None:
        noted = Noted()
        gate = Admission(threads=1, max_waiting=10, together=3, clock=clock)
        tasks = [asyncio.ensure_future(gate.run_together(9.0, None, noted, 0))]
        await until(lambda: noted.companies == [[0]])
        tasks += [
            asyncio.ensure_future(gate.run_together(9.0, None, noted, n)) for n in range(1, 6)
        ]
        await until(lambda: gate.waiting == 5)
        clock.now = 2.0
        noted.gate.set()

        answers = await asyncio.gather(*tasks)
        assert answers == [(0.0 if n == 0 else 2.0, f"{n} done") for n in range(6)]
        assert noted.companies == [[0], [1, 2, 3], [4, 5]]
        gate.close()

    in_a_loop(work)


def test_a_thread_leaves_the_others_their_share_of_what_waits() -> None:
    async def work(clock: Clock, held: Held) -> None:
        noted = Noted()
        gate = Admission(threads=2, max_waiting=10, together=8, clock=clock)
        busy = [asyncio.ensure_future(gate.run(9.0, None, held)) for _ in range(2)]
        await until(lambda: held.begun == 2)
        tasks = [asyncio.ensure_future(gate.run_together(9.0, None, noted, n)) for n in range(4)]
        await until(lambda: gate.waiting == 4)
        held.gate.set()
        await until(lambda: len(noted.companies) == 2)

        assert max(map(len, noted.companies)) <= 2
        noted.gate.set()
        await asyncio.gather(*busy, *tasks)
        gate.close()

    in_a_loop(work)


def test_other_work_in_between_is_done_in_its_turn() -> None:
    async def work(clock: Clock, held: Held) -> None:
        noted, other, done = Noted(), Noted(), list[object]()
        for each in (noted, other):
            each.gate.set()
        gate = Admission(threads=1, max_waiting=10, together=8, clock=clock)
        first = asyncio.ensure_future(gate.run(9.0, None, held))
        await until(lambda: held.begun == 1)
        asked = [(noted, "a"), (noted, "b"), (other, "c"), (noted, "d")]
        tasks = [asyncio.ensure_future(gate.run_together(9.0, None, *each)) for each in asked]
        for task in tasks:
            task.add_done_callback(lambda task: done.append(task.result()[1]))
        await until(lambda: gate.waiting == 4)
        held.gate.set()
        await asyncio.gather(first, *tasks)

        assert (noted.companies, other.companies) == ([["a", "b"], ["d"]], [["c"]])
        assert done == ["a done", "b done", "c done", "d done"]
        gate.close()

    in_a_loop(work)


def test_in_company_only_who_fails_who_left_and_who_is_late_gets_nothing() -> None:
    async def work(clock: Clock, held: Held) -> None:
        noted = Noted()
        noted.gate.set()
        gate = Admission(threads=1, max_waiting=10, together=8, clock=clock)
        first = asyncio.ensure_future(gate.run(9.0, None, held))
        await until(lambda: held.begun == 1)
        unlucky, late, left, lucky = (
            asyncio.ensure_future(gate.run_together(seconds, None, noted, item))
            for item, seconds in (
                (ValueError("no"), 9.0),
                ("late", 1.0),
                ("left", 9.0),
                ("ok", 9.0),
            )
        )
        await until(lambda: gate.waiting == 4)
        left.cancel()
        await until(lambda: gate.waiting == 3)
        clock.now = 3.0
        held.gate.set()
        await first

        assert (await lucky)[1] == "ok done"
        with pytest.raises(ValueError, match="no"):
            await unlucky
        with pytest.raises(Unavailable, match="after its deadline"):
            await late
        assert [len(company) for company in noted.companies] == [2]
        assert gate.waiting == 0
        gate.close()

    in_a_loop(work)


def test_the_wait_is_told_by_what_one_costs_in_company() -> None:
    async def work(clock: Clock, _: Held) -> None:
        class Slow(Noted):
            def __call__(self, items: Sequence[object]) -> list[str | Exception]:
                answers = super().__call__(items)
                clock.now += 4.0
                return answers

        slow = Slow()
        gate = Admission(threads=1, max_waiting=10, together=4, clock=clock)
        tasks = [asyncio.ensure_future(gate.run_together(99.0, None, slow, 0))]
        await until(lambda: slow.companies == [[0]])
        tasks += [
            asyncio.ensure_future(gate.run_together(99.0, None, slow, n)) for n in range(1, 5)
        ]
        await until(lambda: gate.waiting == 4)
        slow.gate.set()
        await asyncio.gather(*tasks)

        assert gate.service_seconds == pytest.approx(4.0)
        assert gate.cost_seconds < 4.0
        gate.close()

    in_a_loop(work)


def test_closing_ends_what_waits_and_stops_every_thread() -> None:
    async def work(clock: Clock, _: Held) -> None:
        noted = Noted()
        gate = Admission(threads=2, max_waiting=10, together=8, clock=clock)
        running = [asyncio.ensure_future(gate.run_together(9.0, None, noted, 0))]
        await until(lambda: noted.companies == [[0]])
        running.append(asyncio.ensure_future(gate.run_together(9.0, None, noted, 1)))
        await until(lambda: len(noted.companies) == 2)
        waiting = asyncio.ensure_future(gate.run_together(9.0, None, noted, "never"))
        await until(lambda: gate.waiting == 1)
        closing = asyncio.ensure_future(asyncio.to_thread(gate.close))
        await until(waiting.cancelled)
        noted.gate.set()
        await closing
        await asyncio.gather(*running)

        assert noted.companies == [[0], [1]]

    in_a_loop(work)


class Item:
    """Worked on, and looked for."""


@contextmanager
def no_garbage_collector() -> Iterator[None]:
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


@pytest.mark.parametrize("end", ["answered", "left", "late", "failed", "cancelled"])
def test_who_waited_leaves_no_cycles_to_collect(end: str) -> None:
    def answers(items: Sequence[Item]) -> list[str | Exception]:
        return [ValueError("no") if end == "failed" else "done" for _ in items]

    async def work(clock: Clock, held: Held) -> None:
        gate, left, item = admission(clock), asyncio.Event(), Item()
        first = asyncio.ensure_future(gate.run(9.0, None, held))
        await until(lambda: held.begun == 1)
        freed = weakref.ref(item)
        waits = asyncio.ensure_future(gate.run_together(9.0, left.wait, answers, item))
        del item
        await asyncio.sleep(0.1)  # it is watched by now
        if end == "left":
            left.set()
            await asyncio.sleep(0.01)
        if end == "cancelled":
            waits.cancel()
        clock.now = 99.0 if end == "late" else 0.0
        held.gate.set()

        with suppress(Unavailable, ClientLeft, ValueError, asyncio.CancelledError):
            assert (await waits)[1] == "done"
        del waits
        await first
        await until(lambda: freed() is None)
        gate.close()

    with no_garbage_collector():
        in_a_loop(work)
