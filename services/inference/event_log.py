"""Events on disk: what is appended is synced before the caller hears of it, many callers by one sync.

One thread writes. While it waits for the disk the next events gather, so that the cost of a sync is shared by all who
came meanwhile and nobody waits for a batch to fill. Files are as in `shared/events/files.py`.
"""

from __future__ import annotations

import errno
import fcntl
import os
import secrets
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path

import structlog

from shared.disk import flush
from shared.errors import Unavailable
from shared.events.files import OPEN, file_name, mend
from shared.events.record import StoredEvent, to_line

_LOOK_SECONDS = 60.0
_log = structlog.get_logger()


@dataclass(frozen=True)
class FileLimits:
    """When a file is closed, and how much may wait."""

    bytes: int = 64_000_000
    """A file is closed once it is as large."""
    open_seconds: float = 3_600.0
    """And once it was open for so long: only closed files are compacted and lose what is erased."""
    waiting: int = 100_000
    """Events that may wait for the disk."""
    reserve_bytes: int = 500_000_000
    """Of the disk that events leave free: what else writes there goes on."""


@dataclass
class _Open:
    path: Path
    descriptor: int
    opened_at: float
    size: int = 0


_Batch = tuple[Sequence[tuple[str, bytes]], Future[None]]
"""Days and lines, and what is done once they are on disk."""


class EventLog:
    """Appends events to the files of a folder. Safe to call from several threads.

    Files that a dead process left are mended first.

    Args:
        folder: made if it is not there.
        limits: of files and of what waits.
        sync: brings a file to the disk.
        clock: seconds that only grow.
        on_commit: told the seconds that a commit took, and how many events it wrote.

    Raises:
        OSError: the folder cannot be written.
    """

    def __init__(
        self,
        folder: Path,
        limits: FileLimits | None = None,
        *,
        sync: Callable[[int], None] = os.fsync,
        clock: Callable[[], float] = time.monotonic,
        on_commit: Callable[[float, int], None] = lambda *_: None,
    ) -> None:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        mend(folder)
        self._folder, self._limits = folder, limits or FileLimits()
        self._sync, self._clock, self._on_commit = sync, clock, on_commit
        self._process, self._number = secrets.token_hex(6), 0
        self._files: dict[str, _Open] = {}
        self._waiting: list[_Batch] = []
        self._taken = 0
        self._changed = threading.Condition()
        self._is_closing = False
        self._thread = threading.Thread(target=self._run, name="event-log", daemon=True)
        self._thread.start()

    def append(self, events: Sequence[StoredEvent]) -> Future[None]:
        """Return what is done once the events are on disk.

        Its error is `Unavailable` if the disk refuses; some of them may be on it, and sending all again is right.

        Raises:
            Unavailable: too many wait for the disk, or the log is closed.
        """
        written: Future[None] = Future()
        lines = [(event.day, to_line(event)) for event in events]
        with self._changed:
            if self._is_closing:
                raise Unavailable("the event log is closed")
            if self._taken + len(events) > self._limits.waiting and self._taken:
                raise Unavailable(
                    f"{self._taken} events wait for the disk already", retry_after_seconds=1
                )
            self._taken += len(events)
            self._waiting.append((lines, written))
            self._changed.notify()
        return written

    def close(self) -> None:
        """Write what waits and close the files."""
        with self._changed:
            self._is_closing = True
            self._changed.notify()
        self._thread.join()

    def _run(self) -> None:
        while True:
            with self._changed:
                if not self._waiting and not self._is_closing:
                    self._changed.wait(_LOOK_SECONDS)
                batches, self._waiting = self._waiting, []
                is_over = self._is_closing and not batches
            if batches:
                self._commit(batches)
            self._close_files(everything=is_over)
            if is_over:
                return

    def _commit(self, batches: Sequence[_Batch]) -> None:
        started = time.perf_counter()
        by_day: dict[str, list[bytes]] = defaultdict(list)
        for lines, _ in batches:
            for day, line in lines:
                by_day[day].append(line)
        error: Unavailable | None = None
        try:
            self._check_room()
            for day, of_day in by_day.items():
                self._write(day, b"".join(of_day))
        except OSError as cause:
            _log.warning("events_not_written", reason=str(cause))
            error = Unavailable(f"{self._folder}: events cannot be written ({cause.strerror})")
        count = sum(len(lines) for lines, _ in batches)
        with self._changed:
            self._taken -= count
        for _, written in batches:
            if not written.set_running_or_notify_cancel():
                continue  # the caller left; what is written stays
            if error is None:
                written.set_result(None)
            else:
                written.set_exception(error)
        if error is None:
            self._on_commit(time.perf_counter() - started, count)

    def _check_room(self) -> None:
        disk = os.statvfs(self._folder)
        if disk.f_bavail * disk.f_frsize < self._limits.reserve_bytes:
            raise OSError(errno.ENOSPC, "the disk is nearly full")

    def _write(self, day: str, content: bytes) -> None:
        """Append to the day's file and sync it; a file that fails is never written again."""
        file = self._files.get(day) or self._open(day)
        try:
            rest = memoryview(content)
            while rest:
                rest = rest[os.write(file.descriptor, rest) :]
            self._sync(file.descriptor)
        except OSError:
            del self._files[day]
            os.close(file.descriptor)  # and its lock goes: `mend` takes the file
            raise
        file.size += len(content)

    def _open(self, day: str) -> _Open:
        path = self._folder / file_name(day, self._process, self._number, ends=OPEN)
        self._number += 1
        new = path.with_name(f".{path.name}")
        descriptor = os.open(new, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_APPEND, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)  # before anybody sees it
            new.rename(path)
            flush(self._folder)
        except OSError:
            os.close(descriptor)
            raise
        self._files[day] = _Open(path, descriptor, self._clock())
        return self._files[day]

    def _close_files(self, *, everything: bool) -> None:
        """Close files that are large, old, or all: renamed in one step, then let go."""
        now, limits = self._clock(), self._limits
        closed = [
            day
            for day, file in self._files.items()
            if everything
            or file.size >= limits.bytes
            or now - file.opened_at > limits.open_seconds
        ]
        for day in closed:
            file = self._files.pop(day)
            try:
                file.path.rename(file.path.with_suffix(""))
                flush(self._folder)
            except OSError as error:  # `mend` closes it at the next start
                _log.warning("event_file_not_closed", file=file.path.name, reason=str(error))
            finally:
                os.close(file.descriptor)
