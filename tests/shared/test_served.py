import asyncio
from collections.abc import Iterator

import pytest

from shared.errors import Damaged, NotFound, SkimError, Starting, Unavailable
from shared.served import Served


class Loads:
    """Gives one prepared outcome a call."""

    def __init__(self, *outcomes: str | SkimError) -> None:
        self._outcomes: Iterator[str | SkimError] = iter(outcomes)

    def __call__(self) -> str:
        outcome = next(self._outcomes)
        if isinstance(outcome, SkimError):
            raise outcome
        return outcome


def test_nothing_to_load_at_start_is_said_to_each_caller_until_there_is_something() -> None:
    async def check() -> None:
        served = Served(Loads(NotFound("run this"), "first"))
        await served.start()
        with pytest.raises(Unavailable, match="run this"):
            served.current()
        assert await served.reload() == "first"
        assert served.current() == "first"

    asyncio.run(check())


def test_before_the_first_load_is_over_it_is_starting_and_no_longer_after_a_failed_one() -> None:
    async def check() -> None:
        served = Served(Loads(NotFound("run this")))
        with pytest.raises(Starting):
            served.current()
        await served.start()
        with pytest.raises(Unavailable, match="run this") as failure:
            served.current()
        assert not isinstance(failure.value, Starting)

    asyncio.run(check())


def test_a_failed_reload_is_told_and_leaves_what_is_served() -> None:
    async def check() -> None:
        served = Served(Loads("first", Damaged("broken"), "second"))
        await served.start()
        with pytest.raises(Damaged, match="broken"):
            await served.reload()
        assert served.current() == "first"
        assert await served.reload() == "second"
        assert served.current() == "second"

    asyncio.run(check())
