"""A file of records that only grows: each is on the disk when its append returns, and is checked when it is read.

A record is its length, the CRC-32 of that and the CRC-32 of the rest (4 bytes each, little-endian), then the payload. A
record that a crash cut off was never acknowledged and is dropped; with a checksum of its own, a damaged length is not taken
for one.
"""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path

import structlog

from shared.disk import flush
from shared.errors import Damaged, Unavailable

_LENGTH, _HEAD = struct.Struct("<I"), struct.Struct("<III")
_log = structlog.get_logger()


class RecordFile:
    """One such file.

    Args:
        path: made on the first append, in a folder that exists.
        remedy: what to do about a damaged record, the end of the error's sentence.
    """

    def __init__(self, path: Path, remedy: str = "restore the file") -> None:
        self.path = path
        self._remedy = remedy

    @property
    def size(self) -> int:
        """Return the bytes written so far."""
        return self.path.stat().st_size if self.path.exists() else 0

    def append(self, payload: bytes) -> None:
        """Write a record through to the disk; what a failed write left is cut off again.

        Raises:
            Unavailable: the disk is full, say.
        """
        before = self.size
        try:
            with self.path.open("ab") as file:
                try:
                    file.write(_head_of(payload) + payload)
                    file.flush()
                    os.fsync(file.fileno())
                except OSError:
                    file.truncate(before)
                    raise
            if not before:
                flush(self.path.parent)
        except OSError as error:
            raise Unavailable(f"{self.path}: cannot be written ({error})") from error

    def read(self, *, mends: bool = True) -> Iterator[tuple[int, bytes]]:
        """Yield place and payload of all records but a last one that is not whole, which is cut off if `mends`.

        Raises:
            Damaged: a whole record is not what was written.
        """
        content = self.path.read_bytes() if self.path.exists() else b""
        start = 0
        while start < len(content):
            end = start + _HEAD.size
            head = content[start:end]
            if len(head) == _HEAD.size:
                length, of_length, _ = _HEAD.unpack(head)
                if zlib.crc32(_LENGTH.pack(length)) != of_length:
                    raise Damaged(self.damage(start))
                end += length
            if end > len(content):
                _log.warning("journal_cut", journal=self.path.name, bytes=len(content) - start)
                if mends:
                    os.truncate(self.path, start)
                return
            payload = content[start + _HEAD.size : end]
            if head != _head_of(payload):
                raise Damaged(self.damage(start))
            yield start, payload
            start = end

    def damage(self, start: int) -> str:
        """Return the message of a record that is damaged."""
        return f"{self.path}: the record at byte {start} is damaged; {self._remedy}"

    def tail(self, start: int) -> bytes:
        """Return what was appended after so many bytes."""
        if not self.path.exists():
            return b""
        with self.path.open("rb") as file:
            file.seek(start)
            return file.read()

    def extend(self, content: bytes) -> None:
        """Append whole records as they lie in another file."""
        with self.path.open("ab") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())


def _head_of(payload: bytes) -> bytes:
    length = len(payload)
    return _HEAD.pack(length, zlib.crc32(_LENGTH.pack(length)), zlib.crc32(payload))
