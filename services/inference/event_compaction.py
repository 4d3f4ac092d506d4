"""A day's closed event files become one, packed, each event once, without what is to be forgotten."""

from __future__ import annotations

import fcntl
import gzip
import os
import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from shared.disk import flush
from shared.errors import Conflict
from shared.events.files import (
    OPEN,
    PACKED,
    DayEvents,
    day_of,
    days_of,
    event_files,
    file_name,
    mend,
    read_day,
)
from shared.events.privacy import ERASED, What, erase, erasures, read_key
from shared.events.record import to_line

_LOCK = ".compacting"


@dataclass
class Compacted:
    """What a compaction did."""

    days: int = 0
    """That were written anew."""
    events: int = 0
    """In these."""
    duplicates: int = 0
    erased: int = 0
    damaged: int = 0
    """Lines that were not what was written; they are gone."""
    days_removed: int = 0
    """Older than is kept."""


def compact(folder: Path, *, keep_from: str = "") -> Compacted:
    """Compact all closed files, also while services write others; files of processes that died are closed first.

    A new file is on disk under its name before the old ones go: a crash leaves events twice, which readers count once.

    Args:
        folder: of the event files.
        keep_from: days before this one (`2026-11-25`) are removed; none if empty.

    Raises:
        Conflict: another compaction runs.
    """
    done = Compacted()
    if folder.is_dir():
        with _alone(folder):
            _compact(folder, keep_from, done)
    return done


def forget(folder: Path, what: What, value: str, until: str) -> Compacted:
    """Note that events of a query, ad or client up to a moment are to be forgotten, and compact.

    They are noted, and hidden from all who read, even if this is cut off.

    Raises:
        NotFound: no events were taken here yet.
        Conflict: a compaction runs; nothing was noted.
    """
    keyed, done = read_key(folder), Compacted()
    with _alone(folder):
        erase(folder, keyed, what, value, until)
        _compact(folder, "", done)
    return done


def _compact(folder: Path, keep_from: str, done: Compacted) -> None:
    for path in folder.glob(f".*{PACKED}"):  # of a compaction that was cut off
        path.unlink()
    mend(folder)
    is_erased = erasures(folder)
    for day in days_of(folder):
        if day < keep_from:
            _remove(folder, _closed(folder, day))
            done.days_removed += 1
        elif not _is_compact(folder, day):
            _replace(folder, read_day(folder, day, is_erased, closed_only=True), done)


def _replace(folder: Path, found: DayEvents, done: Compacted) -> None:
    if found.events:
        name = file_name(found.day, secrets.token_hex(6), 0, ends=PACKED)
        new = folder / f".{name}"
        descriptor = os.open(new, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            with gzip.GzipFile(filename="", fileobj=file, mode="wb", mtime=0) as packed:
                for event in sorted(found.events):
                    packed.write(to_line(event))
            file.flush()
            os.fsync(descriptor)
        new.rename(folder / name)
        flush(folder)
    _remove(folder, found.files)
    done.days += 1
    done.events += len(found.events)
    done.duplicates += found.duplicates
    done.erased += found.erased
    done.damaged += found.damaged


def _closed(folder: Path, day: str) -> list[Path]:
    return [path for path in event_files(folder) if day_of(path) == day and path.suffix != OPEN]


def _is_compact(folder: Path, day: str) -> bool:
    """Say whether a day has at most one closed file, packed since anything was last to be forgotten."""
    closed = _closed(folder, day)
    if len(closed) > 1 or any(path.suffix != PACKED for path in closed):
        return False
    erased = folder / ERASED
    return not closed or not erased.exists() or _changed(closed[0]) > _changed(erased)


def _changed(path: Path) -> int:
    return path.stat().st_mtime_ns


def _remove(folder: Path, paths: Sequence[Path]) -> None:
    for path in paths:
        path.unlink(missing_ok=True)
    flush(folder)


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    with (folder / _LOCK).open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise Conflict(f"{folder}: another compaction runs") from error
        yield
