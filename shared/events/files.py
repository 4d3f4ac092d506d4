"""The event files of a folder: their names, how they are read while others write, how they are mended.

    2026-11-25.3f9a0c11d2e4.0007.jsonl.open   of a process that writes it now; it holds a lock on it
    2026-11-25.3f9a0c11d2e4.0006.jsonl        closed: never changed again
    2026-11-25.b01d77aa90ce.0000.jsonl.gz     a day's closed files as one (`skim events compact`)

The day is the event's own (UTC), so that a retry lies in the same day's files whenever it came, and a day is read on its own.
"""

from __future__ import annotations

import fcntl
import gzip
import os
import re
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, cast

import structlog

from shared.disk import flush
from shared.errors import Damaged
from shared.events.record import StoredEvent, of_line

OPEN = ".open"
PACKED = ".gz"
_NAME = re.compile(
    r"(?P<day>\d{4}-\d{2}-\d{2})\.[0-9a-f]{12}\.\d{4,}\.jsonl(?:\.gz|\.open)?", re.ASCII
)
_TRIES = 20
_log = structlog.get_logger()


@dataclass
class DayEvents:
    """The events of one day, each once."""

    day: str
    events: list[StoredEvent]
    duplicates: int = 0
    """Lines that repeat an event."""
    erased: int = 0
    """Lines that are to be forgotten and still lie in a file."""
    damaged: int = 0
    """Lines that are not what was written; they are passed over."""
    files: Sequence[Path] = field(default_factory=tuple)


def file_name(day: str, process: str, number: int, *, ends: str = "") -> str:
    """Return the name of a process's n-th file of a day."""
    return f"{day}.{process}.{number:04d}.jsonl{ends}"


def event_files(folder: Path) -> list[Path]:
    """Return all event files, by day; none if there is no such folder."""
    names = os.listdir(folder) if folder.is_dir() else []
    return [folder / name for name in sorted(names) if _NAME.fullmatch(name)]


def day_of(path: Path) -> str:
    """Return the day whose events a file holds."""
    return path.name[:10]


def days_of(folder: Path) -> list[str]:
    """Return the days that have a file, in order."""
    return sorted({day_of(path) for path in event_files(folder)})


def read_day(
    folder: Path,
    day: str,
    is_erased: Callable[[StoredEvent], bool] = lambda _: False,
    *,
    closed_only: bool = False,
) -> DayEvents:
    """Return a day's events, each id once, whoever writes or compacts meanwhile. A day is in memory at once.

    Of lines with one id and different content the smallest is taken, so that files may come in any order.

    Args:
        folder: of the event files.
        day: as file names have it.
        is_erased: says which events to pass over.
        closed_only: whether files that are still written are left out.

    Raises:
        Damaged: a packed file cannot be unpacked.
    """
    by_id: dict[str, StoredEvent] = {}
    found = DayEvents(day, [])
    with ExitStack() as stack:
        files = _opened(folder, day, stack, closed_only=closed_only)
        found.files = [path for path, _ in files]
        for path, lines in files:
            for event in _events_of(path, lines, found):
                if is_erased(event):
                    found.erased += 1
                    continue
                known = by_id.setdefault(event.id, event)
                if known is not event:
                    found.duplicates += 1
                    by_id[event.id] = min(known, event)
    found.events = list(by_id.values())
    return found


def opened(path: Path) -> IO[bytes]:
    """Open an event file to read, unpacked."""
    if path.suffix == PACKED:
        return cast("IO[bytes]", gzip.open(path, "rb"))
    return path.open("rb")


def mend(folder: Path) -> list[Path]:
    """Close the files of processes that are gone, without a last line that a crash cut off; return them.

    Files whose process lives hold a lock and are left alone.
    """
    mended = []
    for path in event_files(folder):
        if path.suffix != OPEN:
            continue
        try:
            descriptor = os.open(path, os.O_RDWR)
        except FileNotFoundError:
            continue
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if path.exists():  # else another process was faster
                mended.append(_close_mended(path, descriptor))
        except BlockingIOError:
            continue
        finally:
            os.close(descriptor)
    if mended:
        flush(folder)
    return mended


def _close_mended(path: Path, descriptor: int) -> Path:
    whole = 0
    end = 0
    with path.open("rb") as lines:
        for line in lines:
            end += len(line)
            if of_line(line) is not None:
                whole = end
    if end > whole:
        _log.warning("event_file_cut", file=path.name, bytes=end - whole)
        os.ftruncate(descriptor, whole)
        os.fsync(descriptor)
    if not whole:
        path.unlink()
        return path
    return path.rename(path.with_suffix(""))


def _opened(
    folder: Path, day: str, stack: ExitStack, *, closed_only: bool
) -> list[tuple[Path, IO[bytes]]]:
    """Open all files of a day at once; one that is renamed or compacted meanwhile makes it look again."""
    for _ in range(_TRIES):
        paths = [path for path in event_files(folder) if day_of(path) == day]
        if closed_only:
            paths = [path for path in paths if path.suffix != OPEN]
        with ExitStack() as tried:
            try:
                found = [(path, tried.enter_context(opened(path))) for path in paths]
            except FileNotFoundError:
                continue
            stack.push(tried.pop_all())
            return found
    raise Damaged(f"{folder}: the files of {day} change faster than they can be opened")


def _events_of(path: Path, lines: IO[bytes], found: DayEvents) -> Iterator[StoredEvent]:
    try:
        for line in lines:
            event = of_line(line)
            if event is not None:
                yield event
            elif path.suffix != OPEN or line.endswith(b"\n"):  # else it is being written
                found.damaged += 1
    except (OSError, EOFError, zlib.error) as error:
        raise Damaged(f"{path}: cannot be unpacked ({error})") from error
