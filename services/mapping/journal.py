"""Changes of the train queries since their index was written, each on disk before it is visible.

The payload of a record (`shared/record_file.py`) is a line of JSON and the float32 vectors of what it adds: a restart encodes
nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import orjson
from numpy.typing import NDArray
from pydantic import Field, ValidationError

from shared.contracts.base import Contract
from shared.dataset import Query
from shared.errors import Damaged
from shared.record_file import RecordFile


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
        self._file = RecordFile(
            path, "restore the file, or run `skim mapping build` and put later changes again"
        )

    @property
    def size(self) -> int:
        """Return the bytes written so far."""
        return self._file.size

    def append(self, record: Record) -> None:
        """Write a record through to the disk; what a failed write left is cut off again.

        Raises:
            Unavailable: the disk is full, say.
        """
        payload = orjson.dumps(record.head.model_dump(mode="json")) + b"\n"
        self._file.append(payload + record.vectors.astype(np.float32).tobytes())

    def read(self, dimensions: int, *, mends: bool = True) -> Iterator[Record]:
        """Yield all records but a last one that is not whole, which is cut off if `mends`.

        Raises:
            Damaged: a whole record is not what was written.
        """
        for start, payload in self._file.read(mends=mends):
            yield _record_of(payload, dimensions, f"{self._path}: the record at byte {start}")

    def tail(self, start: int) -> bytes:
        """Return what was appended after so many bytes."""
        return self._file.tail(start)

    def extend(self, content: bytes) -> None:
        """Append whole records as they lie in another journal."""
        self._file.extend(content)


def _record_of(payload: bytes, dimensions: int, where: str) -> Record:
    line, _, rest = payload.partition(b"\n")
    try:
        head = RecordHead.model_validate_json(line)
        vectors = np.frombuffer(rest, dtype=np.float32).reshape(len(head.put), dimensions)
    except (ValidationError, ValueError) as error:
        raise Damaged(f"{where} is not of this version: {error}") from error
    return Record(head, vectors)
