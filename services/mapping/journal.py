"""Changes of the train queries since their index was written, each on disk before it is visible.

A record is its length, the CRC-32 of that and the CRC-32 of the rest (4 bytes each, little-endian), then a line of JSON and the
float32 vectors of what it adds: a restart encodes nothing. A record that a crash cut off was never acknowledged and is
dropped; with a checksum of its own, a damaged length is not taken for one.
"""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import orjson
import structlog
from numpy.typing import NDArray
from pydantic import Field, ValidationError

from shared.contracts.base import Contract
from shared.dataset import Query
from shared.errors import Damaged, Unavailable

_LENGTH, _HEAD = struct.Struct("<I"), struct.Struct("<III")
_log = structlog.get_logger()


class Past(Contract):
    """A change that is in the index already: told to those who ask what changed."""

    version: int
    added: list[str]
    removed: list[str]


class RecordHead(Contract):
    """The JSON of a record."""

    version: int
    put: list[Query] = Field(default_factory=list)
    delete: list[str] = Field(default_factory=list)
    policy: str | None = None
    past: list[Past] = Field(default_factory=list)
    """Only in the first record of a journal, with the version that this reaches back to as its own."""


@dataclass(frozen=True)
class Record:
    """One change: train queries that are put, ids that are deleted, or the policy that maps from now on."""

    head: RecordHead
    vectors: NDArray[np.float32] = field(
        default_factory=lambda: np.empty((0, 0), dtype=np.float32)
    )
    """(put, dimensions)."""


class Journal:
    """A file of records that only grows.

    Args:
        path: made on the first append.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    @property
    def size(self) -> int:
        """Return the bytes written so far."""
        return self._path.stat().st_size if self._path.exists() else 0

    def append(self, record: Record) -> None:
        """Write a record through to the disk; what a failed write left is cut off again.

        Raises:
            Unavailable: the disk is full, say.
        """
        payload = orjson.dumps(record.head.model_dump(mode="json")) + b"\n"
        payload += record.vectors.astype(np.float32).tobytes()
        before = self.size
        with self._path.open("ab") as file:
            try:
                file.write(_head_of(payload) + payload)
                file.flush()
                os.fsync(file.fileno())
            except OSError as error:
                file.truncate(before)
                raise Unavailable(f"{self._path}: cannot be written ({error})") from error

    def read(self, dimensions: int, *, mends: bool = True) -> Iterator[Record]:
        """Yield all records but a last one that is not whole, which is cut off if `mends`.

        Raises:
            Damaged: a whole record is not what was written.
        """
        content = self._path.read_bytes() if self._path.exists() else b""
        start = 0
        while start < len(content):
            end = start + _HEAD.size
            head = content[start:end]
            if len(head) == _HEAD.size:
                length, of_length, _ = _HEAD.unpack(head)
                if zlib.crc32(_LENGTH.pack(length)) != of_length:
                    raise Damaged(self._damage(start))
                end += length
            if end > len(content):
                _log.warning("journal_cut", journal=self._path.name, bytes=len(content) - start)
                if mends:
                    os.truncate(self._path, start)
                return
            payload = content[start + _HEAD.size : end]
            if head != _head_of(payload):
                raise Damaged(self._damage(start))
            yield _record_of(payload, dimensions, f"{self._path}: the record at byte {start}")
            start = end

    def _damage(self, start: int) -> str:
        return (
            f"{self._path}: the record at byte {start} is damaged; restore the file, or run "
            "`skim mapping build` and put later changes again"
        )

    def tail(self, start: int) -> bytes:
        """Return what was appended after so many bytes."""
        if not self._path.exists():
            return b""
        with self._path.open("rb") as file:
            file.seek(start)
            return file.read()

    def extend(self, content: bytes) -> None:
        """Append whole records as they lie in another journal."""
        with self._path.open("ab") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())


def _head_of(payload: bytes) -> bytes:
    length = len(payload)
    return _HEAD.pack(length, zlib.crc32(_LENGTH.pack(length)), zlib.crc32(payload))


def _record_of(payload: bytes, dimensions: int, where: str) -> Record:
    line, _, rest = payload.partition(b"\n")
    try:
        head = RecordHead.model_validate_json(line)
        vectors = np.frombuffer(rest, dtype=np.float32).reshape(len(head.put), dimensions)
    except (ValidationError, ValueError) as error:
        raise Damaged(f"{where} is not of this version: {error}") from error
    return Record(head, vectors)
