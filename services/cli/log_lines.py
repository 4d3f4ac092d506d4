"""Lines of the suite's logs: read from where they are written, chosen, put in order of time, made readable."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import orjson

_OLDER = ".log.1"
_POLL_SECONDS = 0.3
_SHORTEST_PREFIX = 6
_SHOWN_APART = ("timestamp", "level", "event")


@dataclass(frozen=True)
class LogLine:
    """One line of one part."""

    part: str
    text: str
    """As it was written."""
    at: str = ""
    """ISO time; a line that has none has that of the line before."""
    fields: Mapping[str, Any] = field(default_factory=dict)
    """Empty unless the line is JSON, as ours are."""


@dataclass(frozen=True)
class Choice:
    """Which lines are wanted; None wants all."""

    job: str | None = None
    request: str | None = None

    def takes(self, line: LogLine) -> bool:
        """Whether a line is one of them; ids may be cut short, at 6 characters or more."""
        return _has(line, self.job, "job", "job_id") and _has(line, self.request, "request_id")


def parts_in(folder: Path) -> list[str]:
    """Return the names of the parts that have logged something."""
    return sorted(path.name.removesuffix(".log") for path in folder.glob("*.log"))


def read_lines(folder: Path, parts: Sequence[str], choice: Choice) -> list[LogLine]:
    """Return the chosen lines of parts, by time; the older file of a long log included."""
    found: list[LogLine] = []
    for part in parts:
        last = ""
        for path in (folder / f"{part}{_OLDER}", folder / f"{part}.log"):
            if not path.exists():
                continue
            for text in path.read_text(errors="replace").splitlines():
                line = parsed(part, text, last)
                last = line.at
                if choice.takes(line):
                    found.append(line)
    return sorted(found, key=lambda line: line.at)  # stable: a part's lines keep their order


class Follower:
    """Reads on from where the logs end when it is made; a part that begins to log is noticed.

    Args:
        folder: of the logs.
        parts: which to follow; all if empty.
        choice: of lines.
        sleep: waits between two looks.
    """

    def __init__(
        self,
        folder: Path,
        parts: Sequence[str],
        choice: Choice,
        *,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._folder, self._parts, self._choice, self._sleep = folder, parts, choice, sleep
        self._tails = {
            part: _Tail(self._path(part), part, from_end=True)
            for part in parts or parts_in(folder)
        }

    def lines(self) -> Generator[LogLine, None, None]:
        """Yield what is written, for ever."""
        try:
            while True:
                for part in self._parts or parts_in(self._folder):
                    if part not in self._tails:
                        self._tails[part] = _Tail(self._path(part), part, from_end=False)
                    yield from filter(self._choice.takes, self._tails[part].fresh())
                self._sleep(_POLL_SECONDS)
        finally:
            for tail in self._tails.values():
                tail.close()

    def _path(self, part: str) -> Path:
        return self._folder / f"{part}.log"


def parsed(part: str, text: str, last: str = "") -> LogLine:
    """Return a line with its fields if it is one of ours; `last` is the time of the line before."""
    if text.startswith("{"):
        try:
            fields = orjson.loads(text)
        except orjson.JSONDecodeError:
            return LogLine(part, text, last)
        return LogLine(part, text, str(fields.get("timestamp", last)), fields)
    return LogLine(part, text, last)


def readable(line: LogLine, width: int) -> str:
    """Return a line for a person: time, part, level, event, then the rest as name=value."""
    head = f"{line.at[11:23] or '-':12}  {line.part:{width}}"
    if not line.fields:
        return f"{head}  {line.text}"
    rest = [f"{name}={value}" for name, value in line.fields.items() if name not in _SHOWN_APART]
    words = [str(line.fields.get("level", "")).ljust(7), str(line.fields.get("event", "")), *rest]
    return f"{head}  {' '.join(words)}"


class _Tail:
    """The end of a growing file, which may be moved away and begun anew."""

    def __init__(self, path: Path, part: str, *, from_end: bool) -> None:
        self._path = path
        self._part = part
        self._file: BinaryIO | None = None
        self._inode = 0
        self._rest = b""
        self._last = ""
        if from_end and self._open() is not None and self._file is not None:
            self._file.seek(0, 2)

    def fresh(self) -> Iterator[LogLine]:
        """Yield the whole lines written since the last call."""
        while (file := self._open()) is not None:
            self._rest += file.read()
            *lines, self._rest = self._rest.split(b"\n")
            for raw in lines:
                line = parsed(self._part, raw.decode(errors="replace"), self._last)
                self._last = line.at
                yield line
            if not self._was_replaced():
                return
            self.close()
            self._rest = b""

    def close(self) -> None:
        """Let go of the file; the next look opens it anew."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _open(self) -> BinaryIO | None:
        if self._file is None and self._path.exists():
            self._file = self._path.open("rb")
            self._inode = self._path.stat().st_ino
        return self._file

    def _was_replaced(self) -> bool:
        try:
            now = self._path.stat()
        except FileNotFoundError:
            return False
        return now.st_ino != self._inode


def _has(line: LogLine, wanted: str | None, *names: str) -> bool:
    if wanted is None:
        return True
    values = [str(line.fields[name]) for name in names if name in line.fields]
    is_prefix = len(wanted) >= _SHORTEST_PREFIX
    return any(value == wanted or (is_prefix and value.startswith(wanted)) for value in values)
