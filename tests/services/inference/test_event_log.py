import errno
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.inference.event_log import EventLog, FileLimits
from shared.errors import Unavailable
from shared.events.files import days_of, event_files, read_day
from shared.events.record import StoredEvent
from tests.support.events import event_of

PATIENCE_SECONDS = 30
DAY = "2026-11-25"
APPENDS_FOR_EVER = """
import sys
from itertools import count
from pathlib import Path
from services.inference.event_log import EventLog, FileLimits
from tests.support.events import event_of

log = EventLog(Path(sys.argv[1]), FileLimits(bytes=2_000))
for number in count():
    log.append([event_of(number, query="x" * (number * 37 % 900))]).result()
    print(number, flush=True)
"""


class Disk:
    """Syncs when it is let, and fails when told."""

    def __init__(self) -> None:
        self.is_let = threading.Event()
        self.asked = threading.Semaphore(0)
        self.syncs = 0
        self.error: OSError | None = None

    def __call__(self, descriptor: int) -> None:
        self.syncs += 1
        self.asked.release()
        assert self.is_let.wait(PATIENCE_SECONDS)
        if self.error is not None:
            raise self.error
        os.fsync(descriptor)


@pytest.fixture
def disk() -> Disk:
    return Disk()


@pytest.fixture
def held(tmp_path: Path, disk: Disk) -> Iterator[EventLog]:
    """A log whose disk waits."""
    log = EventLog(tmp_path, FileLimits(waiting=3), sync=disk)
    yield log
    disk.is_let.set()
    log.close()


def ids(folder: Path) -> list[str]:
    return sorted(event.id for day in days_of(folder) for event in read_day(folder, day).events)


def written(log: EventLog, *events: StoredEvent) -> None:
    log.append(events).result(PATIENCE_SECONDS)


def test_what_is_answered_for_can_be_read_at_once(tmp_path: Path) -> None:
    log = EventLog(tmp_path)

    written(log, event_of(0), event_of(1))

    assert ids(tmp_path) == ["e0", "e1"]
    log.close()


def test_a_closed_log_leaves_closed_files_only(tmp_path: Path) -> None:
    log = EventLog(tmp_path)
    written(log, event_of(0))
    last = log.append([event_of(1)])
    log.close()

    assert last.done()
    assert ids(tmp_path) == ["e0", "e1"]
    assert [path.suffix for path in event_files(tmp_path)] == [".jsonl"]
    with pytest.raises(Unavailable, match="closed"):
        log.append([event_of(2)])


def test_nothing_is_done_before_it_is_on_the_disk(held: EventLog, disk: Disk) -> None:
    first = held.append([event_of(0)])
    assert disk.asked.acquire(timeout=PATIENCE_SECONDS)

    assert not first.done()
    disk.is_let.set()
    assert first.result(PATIENCE_SECONDS) is None


def test_all_who_come_while_the_disk_works_share_the_next_sync(
    held: EventLog, disk: Disk, tmp_path: Path
) -> None:
    first = held.append([event_of(0)])
    assert disk.asked.acquire(timeout=PATIENCE_SECONDS)
    others = [held.append([event_of(number)]) for number in (1, 2)]
    disk.is_let.set()
    wait([first, *others], timeout=PATIENCE_SECONDS)

    assert disk.syncs == 2
    assert ids(tmp_path) == ["e0", "e1", "e2"]


def test_more_than_may_wait_is_refused_and_told_when_to_come_back(
    held: EventLog, disk: Disk
) -> None:
    held.append([event_of(0)])
    held.append([event_of(1), event_of(2)])

    with pytest.raises(Unavailable, match="wait for the disk") as refusal:
        held.append([event_of(3)])
    assert refusal.value.retry_after_seconds == 1


def test_a_full_disk_is_told_and_the_log_goes_on_in_another_file(
    held: EventLog, disk: Disk, tmp_path: Path
) -> None:
    disk.is_let.set()
    disk.error = OSError(errno.ENOSPC, "No space left on device")
    with pytest.raises(Unavailable, match="No space left"):
        written(held, event_of(0))
    disk.error = None

    written(held, event_of(0), event_of(1))

    assert ids(tmp_path) == ["e0", "e1"]
    assert len(event_files(tmp_path)) == 2


def test_events_leave_some_of_the_disk_to_others(tmp_path: Path) -> None:
    log = EventLog(tmp_path, FileLimits(reserve_bytes=2**62))

    with pytest.raises(Unavailable, match="nearly full"):
        written(log, event_of(0))
    assert event_files(tmp_path) == []
    log.close()


def test_events_of_two_days_go_to_two_files(tmp_path: Path) -> None:
    log = EventLog(tmp_path)
    written(log, event_of(0), event_of(1, time="2026-11-24T23:59:59.999Z"))
    log.close()

    assert days_of(tmp_path) == ["2026-11-24", DAY]


def test_a_file_that_is_large_is_closed(tmp_path: Path) -> None:
    log = EventLog(tmp_path, FileLimits(bytes=1))
    for number in range(3):
        written(log, event_of(number))
    log.close()

    assert len(event_files(tmp_path)) == 3
    assert ids(tmp_path) == ["e0", "e1", "e2"]


def test_a_file_that_was_open_for_long_is_closed_though_it_is_written_to(tmp_path: Path) -> None:
    now = [0.0]
    log = EventLog(tmp_path, FileLimits(open_seconds=10), clock=lambda: now[0])
    for number in range(4):
        written(log, event_of(number))
        now[0] += 6.0
    written(log, event_of(4, time="2026-11-24T12:00:00.000Z"))
    log.close()

    assert len([path for path in event_files(tmp_path) if path.name.startswith(DAY)]) == 2
    assert len(ids(tmp_path)) == 5


def test_two_processes_write_beside_each_other(tmp_path: Path) -> None:
    logs = [EventLog(tmp_path) for _ in range(2)]
    for number in range(6):
        written(logs[number % 2], event_of(number))
    for log in logs:
        log.close()

    assert ids(tmp_path) == [f"e{number}" for number in range(6)]


def test_many_threads_lose_nothing(tmp_path: Path) -> None:
    log = EventLog(tmp_path, FileLimits(bytes=5_000))

    def _append(number: int) -> Future[None]:
        return log.append([event_of(10 * number + place) for place in range(10)])

    with ThreadPoolExecutor(8) as pool:
        done = list(pool.map(_append, range(100)))
    wait(done, timeout=PATIENCE_SECONDS)
    log.close()

    assert len(ids(tmp_path)) == 1_000


@settings(max_examples=4)
@given(st.integers(3, 40))
def test_nothing_answered_for_is_lost_to_kill_9(
    tmp_path_factory: pytest.TempPathFactory, appends: int
) -> None:
    folder = tmp_path_factory.mktemp("events")
    with subprocess.Popen(  # noqa: S603
        [sys.executable, "-c", APPENDS_FOR_EVER, str(folder)],
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        for _ in range(appends):
            process.stdout.readline()
        process.send_signal(signal.SIGKILL)
        last = ([appends - 1, *map(int, process.stdout.read().split())])[-1]

    log = EventLog(folder)
    written(log, event_of(10_000))
    log.close()

    answered = {f"e{number}" for number in range(last + 1)}
    found = [read_day(folder, day) for day in days_of(folder)]
    assert answered <= {event.id for day in found for event in day.events}
    assert sum(day.damaged for day in found) == 0
    assert all(path.suffix == ".jsonl" for path in event_files(folder))
