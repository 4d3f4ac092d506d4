import asyncio
import json
from collections.abc import AsyncIterator, Iterable, Sequence
from datetime import UTC, datetime, timedelta
from itertools import count

import pytest

from services.augmentation.dispatcher import Dispatcher
from services.augmentation.document_lines import chunk_of
from services.augmentation.line_reader import LineReader
from services.augmentation.settings import AugmentationSettings
from services.augmentation.sweeper import sweep_once
from services.augmentation.uploads import Uploads, tend_once
from shared.contracts.augmentation import Job, JobState, Refusal
from shared.contracts.synthetic_queries import WrittenQueries
from shared.errors import Expired, Full, InFlight, InvalidInput, Unavailable
from shared.store import MemoryStore
from shared.store.intake import Chunk, Hold
from tests.support.documents import document_of, label_of, revision_of
from tests.support.queues import FakeQueue

SETTINGS = AugmentationSettings(upload_chunk_bytes=100, queue_documents=3)


def line_of(document_id: str, **members: object) -> bytes:
    return json.dumps({"id": document_id, "title": f"thing {document_id}", **members}).encode()


LINES = [line_of(f"d{number}") for number in range(9)]


async def stream_of(
    pieces: Iterable[bytes], *, then: BaseException | None = None
) -> AsyncIterator[bytes]:
    for piece in pieces:
        yield piece
    if then is not None:
        raise then


class Flaky(MemoryStore):
    """Goes away, or is full, at its n-th chunk."""

    def __init__(self, error: Unavailable, chunks: int) -> None:
        super().__init__()
        self.error: Unavailable | None = error
        self.left = chunks

    def stage(self, job_id: str, hold: Hold, chunk: Chunk) -> None:
        self.left -= 1
        if self.error is not None and self.left < 0:
            raise self.error
        super().stage(job_id, hold, chunk)


class Receiver:
    """Receives uploads, one after another."""

    def __init__(
        self, store: MemoryStore, queue: FakeQueue, settings: AugmentationSettings = SETTINGS
    ) -> None:
        self.store = store
        dispatcher = Dispatcher(store, queue, batch_size=2, seconds=60)
        self.uploads = Uploads(store, dispatcher, settings)
        self.is_replay = False

    def __call__(
        self,
        lines: Sequence[bytes],
        key: str | None = None,
        generator: str = "",
        then: BaseException | None = None,
    ) -> Job:
        pieces = [line + b"\n" for line in lines]
        job, self.is_replay = asyncio.run(
            self.uploads.receive(stream_of(pieces, then=then), key, generator)
        )
        asyncio.run(self.uploads.take_in(job.id))
        return job


@pytest.fixture
def receive(store: MemoryStore, queue: FakeQueue) -> Receiver:
    return Receiver(store, queue)


def test_a_stream_becomes_one_job_whose_first_documents_are_queued(
    receive: Receiver, store: MemoryStore, queue: FakeQueue
) -> None:
    job = receive(LINES)

    assert (job.state, job.documents, job.refused) == (JobState.ACCEPTED, 9, 0)
    assert queue.messages == [(job.id, ["d0", "d1"]), (job.id, ["d2"])]
    assert store.document("d8").title == "thing d8"
    assert store.counts().waiting == 9


def test_what_is_not_queued_at_once_is_queued_by_the_sweeper(
    receive: Receiver, store: MemoryStore, queue: FakeQueue
) -> None:
    job = receive(LINES)

    assert sweep_once(Dispatcher(store, queue, batch_size=100, seconds=60), 100) == 6
    assert queue.messages[-1] == (job.id, ["d3", "d4", "d5", "d6", "d7", "d8"])


def test_a_bad_line_is_refused_with_its_number_and_its_neighbours_are_accepted(
    receive: Receiver,
) -> None:
    job = receive(
        [
            LINES[0],
            b'{"id": "d7", "title": ""}',
            b"",
            b"nonsense",
            LINES[1],
            LINES[0],
            b'{"id": "a b", "title": "t"}',
            b'{"id": "d8", "title": "\\ud800"}',
            b"\xff",
            b"7",
        ]
    )

    assert (job.documents, job.refused) == (2, 7)
    assert [(each.line, each.id) for each in job.refusals] == [
        (2, "d7"), (4, None), (6, "d0"), (7, None), (8, None), (9, None), (10, None),
    ]  # fmt: skip
    assert job.refusals[0].reason == "title: String should have at least 1 character"
    assert job.refusals[2] == Refusal(line=6, id="d0", reason="the id came before")


def test_a_line_that_is_too_long_is_refused(store: MemoryStore, queue: FakeQueue) -> None:
    settings = AugmentationSettings(upload_chunk_bytes=100, max_line_bytes=1_000)
    receive = Receiver(store, queue, settings)

    job = receive([LINES[0], line_of("d1", text="x" * 2_000), LINES[2]])

    assert job.documents == 2
    assert job.refusals == [Refusal(line=2, reason="the line is too long")]


@pytest.mark.parametrize("lines", [[], [b""], [b"nonsense", b"more"]])
def test_a_stream_without_a_document_is_refused_and_leaves_nothing(
    receive: Receiver, store: MemoryStore, lines: list[bytes]
) -> None:
    with pytest.raises(InvalidInput, match="no line is a document"):
        receive(lines, key="k1")

    assert store.jobs(9) == ([], None)
    assert receive(LINES, key="k1").documents == 9


def test_queries_written_before_come_with_their_line(
    receive: Receiver, store: MemoryStore
) -> None:
    receive([line_of("d0", synthetic_queries=["double reed"]), LINES[1]], generator="slm-1")

    document = store.document("d0")
    assert store.synthetic_queries(document, "slm-1") == WrittenQueries(queries=["double reed"])
    assert document.model_dump().keys() == {"id", "title", "text", "metadata"}


def test_queries_of_nobody_are_refused(receive: Receiver) -> None:
    job = receive([line_of("d0", synthetic_queries=["double reed"]), LINES[1]])

    assert "which generator" in job.refusals[0].reason


def test_unchanged_documents_are_counted_and_cost_no_message(
    receive: Receiver, store: MemoryStore, queue: FakeQueue
) -> None:
    receive(LINES[:2])
    for document_id in ("d0", "d1"):
        store.write_labels(
            document_id, revision_of(store.document(document_id), label_of("q1", 0.9))
        )
    store.note_generator("slm-1")
    queue.messages.clear()

    job = receive(LINES[:3])

    assert (job.documents, job.unchanged, job.done) == (3, 2, 2)
    assert queue.messages == [(job.id, ["d2"])]


# Keys


def test_the_same_stream_under_the_same_key_gets_the_same_answer(
    receive: Receiver, store: MemoryStore, queue: FakeQueue
) -> None:
    first = receive(LINES, key="k1")
    store.finish_document(first.id, "d0", labels=3)
    queue.messages.clear()

    again = receive(LINES, key="k1")

    assert again == first
    assert receive.is_replay
    assert queue.messages == []


@pytest.mark.parametrize("other", [LINES[:8], [*LINES, LINES[0]], LINES[::-1], []])
def test_another_stream_under_the_same_key_is_refused(
    receive: Receiver, store: MemoryStore, other: list[bytes]
) -> None:
    receive(LINES, key="k1")

    with pytest.raises(InvalidInput, match="another body"):
        receive(other, key="k1")

    assert store.counts().accepted == 9


def test_an_upload_that_broke_off_goes_on_where_it_stopped(
    receive: Receiver, store: MemoryStore
) -> None:
    with pytest.raises(ConnectionError):
        receive(LINES[:6], key="k1", then=ConnectionError("the client left"))
    assert store.counts().accepted == 0

    job = receive(LINES, key="k1")

    assert (job.documents, job.refused) == (9, 0)
    assert not receive.is_replay
    assert receive(LINES, key="k1") == job


def test_an_upload_is_not_gone_on_with_by_another_stream(receive: Receiver) -> None:
    with pytest.raises(ConnectionError):
        receive(LINES[:6], key="k1", then=ConnectionError("the client left"))

    for other in (LINES[::-1], LINES[:1], []):
        with pytest.raises(InvalidInput, match="another body"):
            receive(other, key="k1")

    assert receive(LINES, key="k1").documents == 9


def test_without_a_key_an_upload_that_broke_off_is_dropped_whole(
    receive: Receiver, store: MemoryStore
) -> None:
    with pytest.raises(ConnectionError):
        receive(LINES[:6], then=ConnectionError("the client left"))

    assert store._uploads == {}
    assert store.counts().accepted == 0


def test_a_second_request_with_the_key_is_in_flight_until_the_first_is_over(
    receive: Receiver,
) -> None:
    async def both() -> Job:
        gate = asyncio.Event()

        async def slow() -> AsyncIterator[bytes]:
            yield LINES[0] + b"\n"
            await gate.wait()

        first = asyncio.create_task(receive.uploads.receive(slow(), "k1", ""))
        while not receive.store._uploads:
            await asyncio.sleep(0)
        with pytest.raises(InFlight):
            await receive.uploads.receive(stream_of(LINES), "k1", "")
        gate.set()
        return (await first)[0]

    assert asyncio.run(both()).documents == 1


def test_more_uploads_than_there_is_room_for_are_refused_and_leave_nothing(
    store: MemoryStore, queue: FakeQueue
) -> None:
    receive = Receiver(store, queue, AugmentationSettings(max_uploads=1))

    async def two() -> None:
        async def first() -> AsyncIterator[bytes]:
            with pytest.raises(Unavailable, match="1 uploads already"):
                await receive.uploads.receive(stream_of(LINES), None, "")
            yield LINES[0]

        await receive.uploads.receive(first(), None, "")

    asyncio.run(two())

    assert store.counts().accepted == 1
    assert receive(LINES).documents == 9


# What goes wrong


def test_a_store_that_is_away_ends_the_upload_and_a_second_one_goes_on(queue: FakeQueue) -> None:
    store = Flaky(Unavailable("Redis is away"), chunks=1)
    receive = Receiver(store, queue)
    with pytest.raises(Unavailable):
        receive(LINES, key="k1")
    assert (store.counts().accepted, queue.messages) == (0, [])
    [upload] = store._uploads.values()
    assert upload.at.lines > 0
    store.error = None

    assert receive(LINES, key="k1").documents == 9


def test_a_store_that_is_full_keeps_nothing_of_an_upload(queue: FakeQueue) -> None:
    store = Flaky(Full("Redis is full"), chunks=1)

    with pytest.raises(Full):
        Receiver(store, queue)(LINES, key="k1")

    assert store._uploads == store._remembered == {}


def test_a_silent_stream_is_ended(store: MemoryStore, queue: FakeQueue) -> None:
    settings = AugmentationSettings(upload_idle_seconds=0.001)
    receive = Receiver(store, queue, settings)

    async def silent() -> AsyncIterator[bytes]:
        yield LINES[0]
        await asyncio.Event().wait()

    with pytest.raises(Expired, match=r"nothing for 0\.001 seconds"):
        asyncio.run(receive.uploads.receive(silent(), None, ""))

    assert store._uploads == {}


def test_a_slow_stream_is_staged_bit_by_bit_and_so_stays_in_its_hands(
    store: MemoryStore, dispatcher: Dispatcher
) -> None:
    settings = AugmentationSettings(upload_chunk_bytes=10_000)
    clock = count(step=settings.upload_idle_seconds)
    uploads = Uploads(store, dispatcher, settings, now=lambda: next(clock))
    staged: list[int] = []

    async def slow() -> AsyncIterator[bytes]:
        for line in LINES[:4]:
            staged.extend(each.at.lines for each in store._uploads.values())
            yield line[:5]
            yield line[5:] + b"\n"

    asyncio.run(uploads.receive(slow(), None, ""))

    assert staged == [0, 1, 2, 3]


def test_when_the_queue_is_away_everything_is_taken_in_and_left_to_the_sweeper(
    receive: Receiver, store: MemoryStore, queue: FakeQueue
) -> None:
    queue.is_away = True

    job = receive([line_of(f"d{number}") for number in range(450)])

    assert job.documents == 450
    assert store.sealed_uploads() == []
    assert len(store.abandoned(999)[job.id]) == 450


# The sweeper


def test_the_sweeper_takes_in_what_a_killed_process_left_staged(
    store: MemoryStore, queue: FakeQueue, dispatcher: Dispatcher
) -> None:
    hold = Hold("killed", 60, 60)
    upload = store.open_upload(None, hold)
    reader = LineReader(chunk_bytes=1, max_line_bytes=1_000)
    for lines in reader.feed(b"\n".join([*LINES, b""])):
        store.stage(upload.job_id, hold, chunk_of(lines, ""))
    store.seal(upload.job_id, hold, reader.position, remember_seconds=60)

    tend_once(store, dispatcher, queue_documents=3)

    assert store.sealed_uploads() == []
    assert store.counts().waiting == 9
    assert [ids for _, ids in queue.messages] == [["d0", "d1"], ["d2"]]


def test_the_sweeper_drops_uploads_that_nobody_went_on_with(
    queue: FakeQueue,
) -> None:
    now = datetime(2026, 11, 25, tzinfo=UTC)
    store = MemoryStore(now=lambda: now)
    receive = Receiver(store, queue)
    with pytest.raises(ConnectionError):
        receive(LINES[:6], key="k1", then=ConnectionError("the client left"))
    dispatcher = Dispatcher(store, queue, batch_size=2, seconds=60)

    now += timedelta(seconds=SETTINGS.upload_keep_seconds - 1)
    tend_once(store, dispatcher, queue_documents=3)
    assert len(store._uploads) == 1
    now += timedelta(seconds=1)
    tend_once(store, dispatcher, queue_documents=3)

    assert store._uploads == store._remembered == {}
    assert store.accept([document_of("d0")]).documents == 1
