"""The lines of a file as bytes, by number, without an object for each: millions cost the collector nothing."""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

import numpy as np


class Rows(Protocol):
    """Ads as JSON, by position."""

    def __len__(self) -> int: ...

    def __getitem__(self, position: int, /) -> bytes: ...

    def __iter__(self) -> Iterator[bytes]: ...


class MappedLines:
    """Reads line n of a file that does not change.

    Args:
        path: of a file whose lines all end in a newline.
    """

    def __init__(self, path: Path) -> None:
        with path.open("rb") as file:
            self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        ends = np.flatnonzero(np.frombuffer(self._map, dtype=np.uint8) == ord("\n"))
        self._starts = np.concatenate([[0], ends + 1])

    def __len__(self) -> int:
        return len(self._starts) - 1

    def __getitem__(self, number: int) -> bytes:
        return self._map[self._starts[number] : self._starts[number + 1]]

    def __iter__(self) -> Iterator[bytes]:
        return (self[number] for number in range(len(self)))
