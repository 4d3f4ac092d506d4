"""The event loop goes before the threads, and does by itself what is brief for the only one who asks."""

import asyncio
import os
import sys
import threading
from collections.abc import Awaitable, Callable, Iterator, Sequence

import pytest

from services.inference.admission import Admission
from tests.support.asgi import until

_BRIEF = 0.002


@pytest.fixture
def gate() -> Iterator[Admission]:
    made = Admission(threads=1, max_waiting=10)
    made.service_seconds = made.cost_seconds = _BRIEF
    yield made
    made.close()


def in_a_loop(work: Callable[[], Awaitable[None]]) -> None:
    asyncio.run(asyncio.wait_for(work(), 20))


def on_the_event_loop(numbers: Sequence[int]) -> list[tuple[int, bool]]:
    """Return each number, and whether this is the thread of the event loop."""
    return [(number, threading.current_thread() is threading.main_thread()) for number in numbers]


@pytest.mark.parametrize(
    ("alone", "service_seconds", "is_here"),
    [(True, _BRIEF, True), (False, _BRIEF, False), (True, 0.02, False), (True, 0.0, False)],
    ids=["alone and brief", "in company", "alone and long", "nothing is known yet"],
)
def test_who_is_alone_is_answered_on_the_event_loop_if_that_is_brief(
    gate: Admission, alone: bool, service_seconds: float, is_here: bool
) -> None:
    gate.service_seconds = service_seconds

    async def work() -> None:
        waited, result = await gate.run_together(9.0, None, on_the_event_loop, 7, alone=alone)

        assert result == (7, is_here)
        assert waited >= 0
        assert gate.service_seconds != service_seconds  # learned of, wherever it was done

    in_a_loop(work)


def test_who_is_alone_waits_behind_what_is_under_way_and_hears_of_errors(gate: Admission) -> None:
    opened, begun = threading.Event(), threading.Event()

    async def work() -> None:
        first = asyncio.ensure_future(gate.run(9.0, None, lambda: begun.set() or opened.wait(9)))
        await until(begun.is_set)
        second = asyncio.ensure_future(
            gate.run_together(9.0, None, on_the_event_loop, 7, alone=True)
        )
        await until(lambda: gate.waiting == 1)
        opened.set()

        await first
        assert (await second)[1] == (7, False)
        gate.service_seconds = _BRIEF
        with pytest.raises(KeyError, match="its own"):
            await gate.run_together(9.0, None, lambda _: [KeyError("its own")], 7, alone=True)

    in_a_loop(work)


@pytest.mark.skipif(sys.platform != "linux", reason="threads have no niceness of their own")
def test_the_event_loop_goes_before_the_threads(gate: Admission) -> None:
    def nice() -> int:
        return os.getpriority(os.PRIO_PROCESS, threading.get_native_id())

    async def work() -> None:
        before = nice()

        _, theirs = await gate.run(9.0, None, nice)

        assert theirs == min(19, before + 10)
        assert nice() == before

    in_a_loop(work)
