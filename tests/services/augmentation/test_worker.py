from collections.abc import Sequence

import pytest

from services.augmentation.dispatcher import Dispatcher
from services.augmentation.worker import Worker
from shared.errors import Unavailable
from shared.store import MemoryStore
from tests.support.documents import document_of
from tests.support.queues import FakeQueue


class Augmenter:
    """Raises or returns what it was told to, the last of it again and again."""

    def __init__(self, *outcomes: Unavailable | list[str]) -> None:
        self.outcomes = list(outcomes)
        self.asked: list[tuple[str, list[str], str | None]] = []

    def augment(
        self, job_id: str, document_ids: Sequence[str], owner: str | None = None
    ) -> Sequence[str]:
        self.asked.append((job_id, list(document_ids), owner))
        outcome = self.outcomes.pop(0) if len(self.outcomes) > 1 else self.outcomes[0]
        if isinstance(outcome, Unavailable):
            raise outcome
        return outcome


class Time:
    """Passes only while someone sleeps."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self.naps: list[float] = []

    def now(self) -> float:
        return self.seconds

    def sleep(self, seconds: float) -> None:
        self.naps.append(seconds)
        self.seconds += seconds


@pytest.fixture
def time() -> Time:
    return Time()


def worker_of(augmenter: Augmenter, dispatcher: Dispatcher, time: Time) -> Worker:
    return Worker(
        augmenter,
        dispatcher,
        patience_seconds=60,
        sleep=time.sleep,
        now=time.now,
        draw=lambda: 1.0,
    )


def away(retry_after_seconds: int = 1) -> Unavailable:
    return Unavailable("mapping is away", retry_after_seconds=retry_after_seconds)


def test_a_message_is_worked_on_again_once_what_was_away_is_back(
    dispatcher: Dispatcher, queue: FakeQueue, time: Time
) -> None:
    augmenter = Augmenter(away(), away(), [])

    worker_of(augmenter, dispatcher, time).work("j", ["d1"], "message")

    assert augmenter.asked == [("j", ["d1"], "message")] * 3
    assert queue.messages == []


def test_pauses_grow_and_heed_what_the_service_asks_for(
    dispatcher: Dispatcher, time: Time
) -> None:
    outcomes = [away(1), away(1), away(1), away(9), away(999), []]

    worker_of(Augmenter(*outcomes), dispatcher, time).work("j", ["d1"], "message")

    assert time.naps == [1.0, 1.0, 2.0, 9.0, 15.0]


def test_a_message_whose_service_stays_away_queues_up_anew(
    dispatcher: Dispatcher, queue: FakeQueue, store: MemoryStore, time: Time
) -> None:
    job = store.accept([document_of("d1")])

    worker_of(Augmenter(away()), dispatcher, time).work(job.id, ["d1"], "message")

    assert queue.messages == [(job.id, ["d1"])]
    assert 30 < time.seconds <= 60
    assert store.abandoned(9) == {}
    assert store.job(job.id).failed == 0


def test_what_has_to_be_tried_alone_gets_messages_of_its_own(
    dispatcher: Dispatcher, queue: FakeQueue, time: Time
) -> None:
    worker_of(Augmenter(["d1", "d3"]), dispatcher, time).work("j", ["d1", "d2", "d3"], "message")

    assert queue.messages == [("j", ["d1"]), ("j", ["d3"])]
