import threading
import time
from collections.abc import Callable

from services.inference.job_queue import JobQueue


class Taker:
    """A thread that takes jobs until the queue is closed."""

    def __init__(self, queue: JobQueue[int]) -> None:
        self.taken: list[int] = []
        self._queue = queue
        self.thread = threading.Thread(target=self._take, daemon=True)
        self.thread.start()

    def _take(self) -> None:
        while (job := self._queue.take()) is not None:
            self.taken.append(job)


def until(is_so: Callable[[], bool]) -> None:
    ends = time.monotonic() + 20
    while not is_so():
        assert time.monotonic() < ends
        time.sleep(0.001)


def test_jobs_are_taken_in_the_order_they_came() -> None:
    queue: JobQueue[int] = JobQueue()
    for job in range(5):
        queue.put(job)

    assert queue.take() == 0
    assert list(queue.take_more(2)) == [1, 2]
    assert list(queue.take_more(9)) == [3, 4]
    assert len(queue) == 0


def test_a_job_wakes_the_thread_that_fell_asleep_last_and_no_other() -> None:
    queue: JobQueue[int] = JobQueue()
    takers = []
    for count in (1, 2):
        takers.append(Taker(queue))
        until(lambda count=count: len(queue._asleep) == count)
    for job in range(1, 6):
        queue.put(job)
        until(lambda job=job: len(takers[1].taken) == job and len(queue._asleep) == 2)

    assert takers[0].taken == []
    queue.close()


def test_a_job_that_was_taken_cannot_be_taken_back_and_one_taken_back_is_not_taken() -> None:
    queue: JobQueue[int] = JobQueue()
    for job in (1, 2, 3):
        queue.put(job)

    assert queue.take() == 1
    assert [queue.take_back(job) for job in (1, 2, 2)] == [False, True, False]
    assert queue.take() == 3


def test_whoever_sleeps_hears_the_end_and_what_is_left_is_given_back() -> None:
    queue: JobQueue[int] = JobQueue()
    takers = [Taker(queue) for _ in range(3)]
    until(lambda: len(queue._asleep) == 3)

    assert list(queue.close()) == []
    for taker in takers:
        taker.thread.join(20)
        assert not taker.thread.is_alive()
    queue.put(7)
    assert list(queue.close()) == [7]
    assert queue.take() is None


def test_no_job_is_lost_or_done_twice_among_threads_that_fall_asleep_all_the_time() -> None:
    queue: JobQueue[int] = JobQueue()
    takers = [Taker(queue) for _ in range(4)]
    for job in range(20_000):
        queue.put(job)
        if job % 50 == 0:
            until(lambda: len(queue) == 0)
    until(lambda: len(queue) == 0)
    queue.close()
    for taker in takers:
        taker.thread.join(20)

    assert sorted(job for taker in takers for job in taker.taken) == list(range(20_000))
