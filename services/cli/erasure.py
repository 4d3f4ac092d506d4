"""Erases documents everywhere, and looks everywhere whether a text is left."""

from __future__ import annotations

import gzip
import json
import lzma
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any

from services.inference.event_compaction import compact, forget
from shared.clients import AugmentationClient, InferenceClient
from shared.events.record import stamp
from shared.settings import CommonSettings
from shared.store import RedisStore

_BLOCK_BYTES = 1 << 22
_PACKERS: dict[str, Callable[[Path, str], Any]] = {".gz": gzip.open, ".xz": lzma.open}


@dataclass(frozen=True)
class Erased:
    """What an erasure did."""

    removed: int
    unknown: list[str]
    """Were not in the store; their ads and events are erased all the same."""
    ads_bytes: int
    """Of the ads' journal now."""
    events: int
    """Erased from closed files."""


def erase(document_ids: Sequence[str], common: CommonSettings, store: RedisStore) -> Erased:
    """Remove documents with their labels and ads and what users did with these, and write all files anew.

    Raises:
        Unavailable: augmentation, inference or Redis does not answer; to be called again.
    """
    with AugmentationClient(common.augmentation_url) as augmentation:
        removed = augmentation.delete_documents(document_ids)
    with InferenceClient(common.inference_url) as inference:
        inference.delete_ads(document_ids)  # also where the augmentation service tells nobody
        ads_bytes = inference.compact_ads().bytes
    events = 0
    if common.events.exists():
        now = stamp(datetime.now(UTC))
        for document_id in document_ids:
            forget(common.events, "ad", document_id, now)
        events = compact(common.events).erased
    store.rewrite_files()
    return Erased(removed.removed, removed.unknown, ads_bytes, events)


def places_of(text: str, common: CommonSettings, store: RedisStore) -> Iterator[str]:
    """Yield every key of Redis and every file of the home that has a text, whatever the case of its letters.

    Packed files (.gz, .xz) are unpacked for it; folders that are links are passed over.
    """
    is_in = Needle(text)
    yield from (f"redis: {name}" for name in store.keys_with(lambda found: is_in(found.encode())))
    for folder, _, names in os.walk(common.home):
        for name in sorted(names):
            path = Path(folder) / name
            if path.is_file() and _has(path, is_in):
                yield str(path)


class Needle:
    """Finds a text in bytes: as it is, and as JSON may spell it."""

    def __init__(self, text: str) -> None:
        spelt = {text, json.dumps(text)[1:-1], json.dumps(text, ensure_ascii=False)[1:-1]}
        self._spelt = [each.lower().encode() for each in spelt]
        self.overlap = max(map(len, self._spelt)) - 1

    def __call__(self, found: bytes) -> bool:
        """Whether it is in there."""
        lower = found.lower()
        return any(each in lower for each in self._spelt)


def _has(path: Path, is_in: Needle) -> bool:
    opener = _PACKERS.get(path.suffix)
    try:
        with opener(path, "rb") if opener else path.open("rb") as file:
            return _stream_has(file, is_in)
    except (EOFError, lzma.LZMAError, gzip.BadGzipFile):
        return is_in(path.read_bytes())
    except FileNotFoundError:  # it was replaced meanwhile
        return False


def _stream_has(file: IO[bytes], is_in: Needle) -> bool:
    tail = b""
    while block := file.read(_BLOCK_BYTES):
        if is_in(tail + block):
            return True
        tail = block[-is_in.overlap :] if is_in.overlap else b""
    return False
