import os
import threading
import time

import pytest

from shared.pace import Pace


def spin(seconds: float) -> None:
    ends = time.thread_time() + seconds
    while time.thread_time() < ends:
        pass


def test_everything_is_given_in_its_order() -> None:
    for pace in (Pace(), Pace(share=0.5)):
        assert list(pace.each(range(100), look=3)) == list(range(100))


def test_work_rests_as_long_as_its_share_asks_for(monkeypatch: pytest.MonkeyPatch) -> None:
    rests: list[float] = []
    monkeypatch.setattr(time, "sleep", rests.append)
    begun = time.thread_time()
    for _ in Pace(share=0.25).each(range(20), look=1):
        spin(0.001)
    worked = time.thread_time() - begun

    assert len(rests) == 20
    assert 20 * 0.001 * 3 <= sum(rests) <= worked * 3


def test_cheap_items_and_work_at_once_do_not_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "sleep", lambda _: pytest.fail("rested"))
    for _ in Pace().each(range(20), look=1):
        spin(0.001)
    assert list(Pace(share=0.5).each(range(20))) == list(range(20))


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="Linux gives threads a priority")
def test_work_behind_has_a_low_priority_and_leaves_the_callers_as_it_was() -> None:
    def priority() -> tuple[int, int]:
        number = threading.get_native_id()
        return number, os.getpriority(os.PRIO_PROCESS, number)

    number, before = priority()
    other, low = Pace(share=0.5).behind(priority)

    assert (other != number, low) == (True, 10)
    assert priority() == (number, before) == Pace().behind(priority)


def test_an_error_of_work_behind_is_the_callers() -> None:
    def fail() -> None:
        raise ValueError("unlucky")

    for pace in (Pace(), Pace(share=0.5)):
        with pytest.raises(ValueError, match="unlucky"):
            pace.behind(fail)
