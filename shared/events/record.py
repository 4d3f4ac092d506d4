"""An event as it lies in a file: one line of JSON that ends with a checksum of the rest.

The line is plain NDJSON for any other tool. Time and kind come first and have a fixed width, so that counting
(`tally.py`) needs no parser.
"""

from __future__ import annotations

import sys
import zlib
from datetime import UTC, datetime
from typing import NamedTuple

import orjson

_CRC = b',"crc":"'
_REPEATED = ("kind", "query", "ad", "generation", "request", "client")


class StoredEvent(NamedTuple):
    """An event as it is kept; see `shared/contracts/events.py`."""

    time: str
    """UTC to the millisecond, `2026-11-25T22:56:48.123Z`: these sort as the times do."""
    kind: str
    id: str
    query: str
    ad: str
    position: int
    generation: str
    request: str
    client: str = ""
    """A keyed hash, empty if nobody said whose event it is."""
    propensity: float = 0.0
    """Of the draw that put the ad there; 0 if it was ranked there."""

    @property
    def day(self) -> str:
        """Return the UTC day it happened on."""
        return self.time[:10]


def stamp(moment: datetime) -> str:
    """Return a moment as events have it."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def to_line(event: StoredEvent) -> bytes:
    """Return the event's line, line end included."""
    fields = event._asdict()
    for name, default in StoredEvent._field_defaults.items():
        if fields[name] == default:
            del fields[name]
    content = orjson.dumps(fields)
    return b'%s%s%08x"}\n' % (content[:-1], _CRC, zlib.crc32(content))


def of_line(line: bytes) -> StoredEvent | None:
    """Return the event of a line; None if the line is cut or is not what was written."""
    content, mark, rest = line.rpartition(_CRC)
    content += b"}"
    if not mark or rest != b'%08x"}\n' % zlib.crc32(content):
        return None
    try:
        fields = orjson.loads(content)
        for name in _REPEATED:  # a day is in memory at once: each text once
            if name in fields:
                fields[name] = sys.intern(fields[name])
        return StoredEvent(**fields)
    except (orjson.JSONDecodeError, TypeError):
        return None
