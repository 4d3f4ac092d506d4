"""Changes of the ads as the records of a file (`shared/record_file.py`): a line of JSON, then float32 vectors.

The first record says the format, and so does one where a newer version went on with the file: in format 2 an ad may have synthetic
queries, which format 1 knows nothing of. A restart encodes nothing: each ad that has no trained vector comes with its own, and
with what made it, since another bundle may have another encoder.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path

import numpy as np
import orjson

from services.inference.catalogue import Entry
from shared.disk import flush
from shared.errors import Damaged
from shared.record_file import RecordFile

JOURNAL = "journal.bin"
_FORMAT, _OLD_FORMAT = (orjson.dumps({"format": number}) + b"\n" for number in (2, 1))
_ENTRIES_PER_RECORD = 500
_REMEDY = (
    "restore the file; without it, ads that were deleted come back and ads that were put are gone"
)


class AdJournal:
    """The changes of the ads, each on disk before it is visible.

    Args:
        folder: of the file, which is made on the first append.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._file = RecordFile(folder / JOURNAL, _REMEDY)
        self._is_of_this_format = False

    @property
    def size(self) -> int:
        """Return the bytes written so far."""
        return self._file.size

    def append(self, entries: Mapping[str, Entry]) -> None:
        """Write changes through to the disk, all or none; `Unavailable` if it cannot be done."""
        if not self._is_of_this_format:
            self._file.append(_FORMAT)
            self._is_of_this_format = True
        self._file.append(_payload_of(entries))

    def read(self, *, mends: bool = True) -> dict[str, Entry]:
        """Return what became of each ad; a last record that a crash cut off is dropped.

        Raises:
            Damaged: a whole record is not what was written, or not of this format.
        """
        entries: dict[str, Entry] = {}
        for number, (start, payload) in enumerate(self._file.read(mends=mends)):
            if payload in (_FORMAT, _OLD_FORMAT):
                self._is_of_this_format = payload == _FORMAT
                continue
            if number == 0:
                raise Damaged(f"{self._file.damage(start)} (not a format this version reads)")
            try:
                entries.update(_entries_of(payload))
            except (orjson.JSONDecodeError, KeyError, TypeError, ValueError) as error:
                raise Damaged(f"{self._file.damage(start)} ({error!r})") from error
        return entries

    def rewriter(self, entries: Mapping[str, Entry]) -> Rewriter:
        """Return what replaces the file by one of these entries and what is appended from now on."""
        return Rewriter(self._folder, self._file, entries, self.size)


class Rewriter:
    """Writes the journal anew: `write` beside appends, then `replace` while there are none."""

    def __init__(
        self, folder: Path, old: RecordFile, entries: Mapping[str, Entry], size: int
    ) -> None:
        self._folder, self._old, self._entries, self._size = folder, old, entries, size
        self._new = RecordFile(folder / f".new-{JOURNAL}")
        self._head = 0

    def write(self) -> None:
        """Write the entries to another file."""
        self._new.path.unlink(missing_ok=True)
        self._new.append(_FORMAT)
        self._head = self._new.size
        left = iter(self._entries.items())
        while batch := dict(islice(left, _ENTRIES_PER_RECORD)):
            self._new.append(_payload_of(batch))

    def replace(self) -> None:
        """Add what was appended meanwhile and put the file in place. Killed at any point, one of the two is there."""
        self._new.extend(self._old.tail(self._size or self._head))
        os.replace(self._new.path, self._old.path)
        flush(self._folder)


def _payload_of(entries: Mapping[str, Entry]) -> bytes:
    rows: list[Sequence[object]] = []
    vectors = []
    for ad_id, entry in entries.items():
        row = None if entry.row is None else orjson.Fragment(entry.row)
        length = 0 if entry.vector is None else len(entry.vector)
        rows.append((ad_id, entry.version, entry.content_hash, row, length, entry.recipe))
        if entry.vector is not None:
            vectors.append(entry.vector.astype("<f4").tobytes())
    return b"".join([orjson.dumps(rows), b"\n", *vectors])


def _entries_of(payload: bytes) -> Iterator[tuple[str, Entry]]:
    line, _, rest = payload.partition(b"\n")
    numbers, start = np.frombuffer(rest, dtype="<f4").astype(np.float32), 0
    for ad_id, version, content_hash, row, length, recipe in orjson.loads(line):
        vector = numbers[start : start + length] if length else None
        start += length
        written = None if row is None else orjson.dumps(row)
        yield ad_id, Entry(version, content_hash, written, vector, recipe)
    if start != len(numbers):
        raise ValueError(f"{len(numbers)} numbers, expected {start}")
