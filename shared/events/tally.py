"""How many events there were since a moment, without parsing them: what says that it is time to train."""

from __future__ import annotations

import zlib
from collections.abc import Iterable
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import IO

from shared.events.files import OPEN, PACKED, day_of, event_files, opened

_TIME = slice(9, 33)
"""Where a line has its time: `{"time":"`, then as many characters."""
_CLICK = slice(35, 49)
_IS_CLICK = b'"kind":"click"'
_EXPLORED = b'"propensity":'
_CHUNK_BYTES = 1_000_000


@dataclass
class Tally:
    """Lines since a moment; retries that were written twice count twice here."""

    clicks: int = 0
    impressions: int = 0
    explored: int = 0
    """Of both, those of ads drawn at random."""

    def __add__(self, other: Tally) -> Tally:
        return Tally(*(a + b for a, b in zip(astuple(self), astuple(other), strict=True)))


@dataclass
class _Counted:
    tally: Tally
    bytes: int = 0


class Tallies:
    """Counts again only what was written since it last looked. Used from one thread at a time.

    Args:
        folder: of the event files.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._moment = ""
        self._counted: dict[str, _Counted] = {}

    def since(self, moment: str) -> Tally:
        """Return the events that happened after a moment (`record.stamp`)."""
        if moment != self._moment:
            self._moment, self._counted = moment, {}
        before, self._counted = self._counted, {}
        for path in event_files(self._folder):
            if day_of(path) < moment[:10]:
                continue
            name = path.name.removesuffix(OPEN)
            counted = before.get(name, _Counted(Tally()))
            try:
                self._counted[name] = self._go_on(path, counted)
            except (OSError, EOFError, zlib.error):  # closed or compacted just now, or damaged
                self._counted[name] = counted
        return sum((each.tally for each in self._counted.values()), Tally())

    def _go_on(self, path: Path, counted: _Counted) -> _Counted:
        if path.suffix == PACKED and counted.bytes:
            return counted
        with opened(path) as lines:
            lines.seek(counted.bytes)
            if day_of(path) > self._moment[:10]:
                return _tally_all(lines, counted)
            return _tally_after(lines, self._moment.encode(), counted)


def _tally_all(file: IO[bytes], counted: _Counted) -> _Counted:
    """Count every line, without looking at each: a first look at a long log must not slow down answers."""
    tally, read = counted.tally, counted.bytes
    rest = b""
    while chunk := file.read(_CHUNK_BYTES):
        content = rest + chunk
        end = content.rfind(b"\n") + 1
        rest = content[end:]
        lines, clicks = content.count(b"\n", 0, end), content.count(b'Z",' + _IS_CLICK, 0, end)
        tally += Tally(clicks, lines - clicks, content.count(_EXPLORED, 0, end))
        read += end
    return _Counted(tally, read)


def _tally_after(lines: Iterable[bytes], moment: bytes, counted: _Counted) -> _Counted:
    read, events, clicks, explored = counted.bytes, 0, 0, 0
    for line in lines:
        if not line.endswith(b"\n"):  # being written
            break
        read += len(line)
        if line[_TIME] > moment:
            events += 1
            clicks += line[_CLICK] == _IS_CLICK
            explored += _EXPLORED in line
    return _Counted(counted.tally + Tally(clicks, events - clicks, explored), read)
