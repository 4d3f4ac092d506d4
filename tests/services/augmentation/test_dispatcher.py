import pytest

from services.augmentation.dispatcher import Dispatcher
from services.augmentation.sweeper import sweep_once
from shared.contracts.augmentation import Job
from shared.errors import Unavailable
from shared.store import MemoryStore
from tests.support.documents import document_of
from tests.support.queues import FakeQueue

IDS = ["d1", "d2", "d3"]


@pytest.fixture
def job(store: MemoryStore) -> Job:
    return store.accept([document_of(document_id) for document_id in IDS])


def test_a_job_is_queued_in_batches_and_then_left_alone(
    store: MemoryStore, queue: FakeQueue, dispatcher: Dispatcher, job: Job
) -> None:
    dispatcher.dispatch(job.id, IDS)

    assert queue.messages == [(job.id, ["d1", "d2"]), (job.id, ["d3"])]
    assert store.abandoned(10) == {}
    assert sweep_once(dispatcher, 10) == 0


def test_what_the_queue_could_not_take_is_queued_by_the_sweeper(
    store: MemoryStore, queue: FakeQueue, dispatcher: Dispatcher, job: Job
) -> None:
    queue.is_away = True
    with pytest.raises(Unavailable):
        dispatcher.dispatch(job.id, IDS)
    assert sweep_once(dispatcher, 10) == 0
    queue.is_away = False

    assert sweep_once(dispatcher, 10) == 3

    assert [ids for _, ids in queue.messages] == [["d1", "d2"], ["d3"]]


def test_a_sweep_queues_what_waits_in_nobodys_hands_and_no_more(
    store: MemoryStore, queue: FakeQueue, dispatcher: Dispatcher, job: Job
) -> None:
    store.finish_document(job.id, "d1")
    store.lease(job.id, ["d2"], 60)

    assert sweep_once(dispatcher, 10) == 1
    assert queue.messages == [(job.id, ["d3"])]


def test_a_sweep_is_bounded(queue: FakeQueue, dispatcher: Dispatcher, job: Job) -> None:
    assert sweep_once(dispatcher, 2) == 2
    assert sweep_once(dispatcher, 2) == 1


def test_two_sweepers_queue_what_waits_once(
    store: MemoryStore, queue: FakeQueue, dispatcher: Dispatcher, job: Job
) -> None:
    other = Dispatcher(store, queue, batch_size=2, seconds=60)

    assert sweep_once(dispatcher, 10) + sweep_once(other, 10) == 3
    assert sorted(each for _, ids in queue.messages for each in ids) == IDS


def test_where_the_queue_is_long_a_sweep_puts_little_on_it(
    store: MemoryStore, queue: FakeQueue, dispatcher: Dispatcher
) -> None:
    store.accept([document_of(f"d{number:03}") for number in range(100)])
    queue.messages = [("backlog", ["b1", "b2"])] * 20

    assert sweep_once(dispatcher, 40) == 2


def test_suspects_are_queued_each_alone(
    queue: FakeQueue, dispatcher: Dispatcher, job: Job
) -> None:
    dispatcher.dispatch_apart(job.id, IDS)

    assert [ids for _, ids in queue.messages] == [["d1"], ["d2"], ["d3"]]
