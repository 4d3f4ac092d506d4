"""Where an ad is, by its id: twelve bytes an ad instead of objects, which take memory to keep and the interpreter to free."""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Mapping

import numpy as np
import orjson

from services.inference.rows import Rows
from shared.errors import Damaged


class AdPositions(Mapping[str, int]):
    """Ad id -> position. Never changes.

    Args:
        rows: the ads as JSON, by position; an id is compared with what is there.
        hashes: `hash` of each id, by position.

    Raises:
        Damaged: an id occurs twice.
    """

    def __init__(self, rows: Rows, hashes: array[int]) -> None:
        self._rows = rows
        unordered = np.array(hashes, dtype=np.int64)
        order = np.argsort(unordered, kind="stable")
        self._hashes, self._order = unordered[order], order.astype(np.int32)
        for each in np.unique(self._hashes[1:][self._hashes[1:] == self._hashes[:-1]]).tolist():
            ids = [self._id(position) for position in self._positions(each)]
            twice = [ad_id for ad_id in ids if ids.count(ad_id) > 1]
            if twice:
                raise Damaged(f"ad {twice[0]!r} occurs twice")

    def __getitem__(self, ad_id: str) -> int:
        for position in self._positions(hash(ad_id)):
            if self._id(position) == ad_id:
                return position
        raise KeyError(ad_id)

    def __len__(self) -> int:
        return len(self._hashes)

    def __iter__(self) -> Iterator[str]:
        return (self._id(position) for position in range(len(self)))

    def _positions(self, number: int) -> list[int]:
        """Return the positions of the ads whose ids have a hash, mostly one."""
        first, last = (np.searchsorted(self._hashes, number, side) for side in ("left", "right"))
        found: list[int] = self._order[first:last].tolist()
        return found

    def _id(self, position: int) -> str:
        ad_id: str = orjson.loads(self._rows[position])["id"]
        return ad_id
