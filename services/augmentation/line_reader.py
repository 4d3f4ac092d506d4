"""Cuts a stream of bytes into chunks of whole lines, in flat memory, with the digest of all bytes so far."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from shared.store.intake import Position


@dataclass(frozen=True)
class Lines:
    """Whole lines of a stream."""

    since: int
    """Bytes before them."""
    first: int
    """Number of the first, from 1."""
    lines: Sequence[bytes | None]
    """Without their ends; None where one is longer than allowed."""
    to: Position


class LineReader:
    """Reads a stream from its begin, or from where an earlier reader of the same stream got to.

    Args:
        chunk_bytes: lines are given out once there are so many bytes of them.
        max_line_bytes: what is longer is not kept.
        at: what was read before; all of it must be fed to `skip` first.
    """

    def __init__(
        self, *, chunk_bytes: int, max_line_bytes: int, at: Position | None = None
    ) -> None:
        self._chunk_bytes = chunk_bytes
        self._max_line_bytes = max_line_bytes
        self._digest = hashlib.sha256()
        self._buffer = bytearray()
        self._before = at or Position()
        self._bytes = 0
        self._is_too_long = False
        self.position = self._before
        """The end of the last line that was given out, here or before."""

    @property
    def is_skipping(self) -> bool:
        """Whether bytes are still missing that were read before."""
        return self._bytes < self._before.bytes

    def skip(self, data: bytes) -> tuple[bytes, bool]:
        """Read over what was read before; return what follows it, and False if it was something else."""
        missing = self._before.bytes - self._bytes
        self._count(data[:missing])
        if self.is_skipping:
            return b"", True
        return data[missing:], self._digest.hexdigest() == self._before.digest

    def feed(self, data: bytes) -> Iterator[Lines]:
        """Yield the lines that are complete with this, if there are enough of them."""
        self._buffer += data
        if len(self._buffer) >= self._chunk_bytes or self._is_too_long:
            yield from self.cut()

    def cut(self) -> Iterator[Lines]:
        """Yield all lines that are complete."""
        end = self._buffer.rfind(b"\n") + 1
        if end:
            whole = bytes(self._buffer[:end])
            del self._buffer[:end]
            yield self._give_out(whole, whole[:-1].split(b"\n"))
        if len(self._buffer) > self._max_line_bytes or (self._is_too_long and self._buffer):
            self._count(self._buffer)
            self._buffer.clear()
            self._is_too_long = True

    def end(self) -> Iterator[Lines]:
        """Yield what is left; the last line may lack its end."""
        yield from self.cut()
        if self._buffer or self._is_too_long:
            whole = bytes(self._buffer)
            self._buffer.clear()
            yield self._give_out(whole, [whole])

    def digest(self) -> str:
        """Return the digest of all that was counted."""
        return self._digest.hexdigest()

    def _count(self, data: bytes | bytearray) -> None:
        self._digest.update(data)
        self._bytes += len(data)

    def _give_out(self, whole: bytes, lines: Sequence[bytes]) -> Lines:
        self._count(whole)
        kept: list[bytes | None] = [
            line if len(line) <= self._max_line_bytes else None for line in lines
        ]
        if self._is_too_long:
            kept[0], self._is_too_long = None, False
        since = self.position
        self.position = Position(self._bytes, since.lines + len(lines), self.digest())
        return Lines(since.bytes, since.lines + 1, kept, self.position)
