"""The ads of a generation with what changed since it was published: one writer makes one view after another."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import orjson
from numpy.typing import NDArray

from services.inference.columns import Columns
from services.inference.generation import Generation, Segment
from services.inference.view import View
from shared.contracts.document import MetadataValue
from shared.contracts.inference import Ad
from shared.index_choice import choose_index

_FIRST_ROWS = 64


@dataclass(frozen=True, slots=True)
class Entry:
    """What became of an ad by a change of its own, whatever bundles say."""

    version: int
    content_hash: str
    """Of the document; of what was deleted, empty if there was nothing."""
    row: bytes | None
    """The ad as JSON; None: deleted."""
    vector: NDArray[np.float32] | None = None
    """(dimensions,) float32 that an ad begins with whose content no training has seen; None where it has a trained one."""
    recipe: str = ""
    """What made the vector."""


class Catalogue:
    """Keeps the ads by id, and the view of them. Changed by one thread at a time.

    Args:
        generation: what the bundle has.
        entries: ad id -> what became of it; those without a trained vector have a vector.
        version: of these entries.
        recent: as many ads with vectors of their own are compared one by one; more get an index.
    """

    def __init__(
        self,
        generation: Generation,
        entries: Mapping[str, Entry] | None = None,
        *,
        version: int = 0,
        recent: int = 2_048,
    ) -> None:
        self.generation = generation
        self._own: dict[str, int] = {}
        base = generation.base
        is_live = np.ones(len(base.rows), dtype=np.bool_)
        rows: list[bytes] = []
        vectors: list[NDArray[np.float32]] = []
        for ad_id, entry in (entries or {}).items():
            if entry.row is None or not self.is_as_published(ad_id, entry.row):
                position = generation.positions.get(ad_id)
                if position is not None:
                    is_live[position] = False
                if entry.row is not None:
                    self._own[ad_id] = len(base.rows) + len(rows)
                    rows.append(entry.row)
                    vectors.append(self._vector_of(entry))
        extra = None
        if len(rows) > recent:
            metadata = [_metadata_of(row) for row in rows]
            index = choose_index(np.stack(vectors), threads=1)
            extra, rows, vectors = Segment(index, rows, Columns(metadata)), [], []
            is_live = np.concatenate([is_live, np.ones(len(index), dtype=np.bool_)])
        self.view = View(
            generation,
            extra,
            [],
            [],
            np.empty((_FIRST_ROWS, base.index.dimensions), dtype=np.float32),
            is_live,
            version,
        )
        self._rows: list[bytes] = []
        self._metadata: list[Mapping[str, MetadataValue]] = []
        self._vectors = self.view.recent_vectors
        self._append(rows, vectors, is_live, version)

    @property
    def own(self) -> Mapping[str, int]:
        """Return id -> position of the ads that are not as the bundle has them."""
        return self._own

    @property
    def waste(self) -> tuple[int, int]:
        """Return how many ads are compared one by one, and how many positions behind the bundle's are dead."""
        view = self.view
        return len(self._rows), len(view.is_live) - len(self.generation.base.rows) - len(self._own)

    def position(self, ad_id: str) -> int | None:
        """Return where an ad is in the view, None if there is none."""
        position = self._own.get(ad_id)
        if position is None:
            position = self.generation.positions.get(ad_id)
        return position if position is not None and self.view.is_live[position] else None

    def ad(self, ad_id: str) -> Ad | None:
        """Return an ad, None if there is none."""
        position = self.position(ad_id)
        return None if position is None else Ad.model_validate_json(self.view.row(position))

    def is_as_published(self, ad_id: str, row: bytes) -> bool:
        """Say whether the bundle has an ad with this very content."""
        return self.generation.is_as_published(ad_id, row)

    def apply(self, entries: Mapping[str, Entry], version: int) -> None:
        """Make the view of the ads after these changes; see the class for their vectors."""
        is_live = self.view.is_live.copy()
        rows: list[bytes] = []
        vectors: list[NDArray[np.float32]] = []
        for ad_id, entry in entries.items():
            for position in (self._own.pop(ad_id, None), self.generation.positions.get(ad_id)):
                if position is not None:
                    is_live[position] = False
            if entry.row is None:
                continue
            if self.is_as_published(ad_id, entry.row):
                is_live[self.generation.positions[ad_id]] = True
                continue
            self._own[ad_id] = len(is_live) + len(rows)
            rows.append(entry.row)
            vectors.append(self._vector_of(entry))
        self._append(rows, vectors, is_live, version)

    def _append(
        self,
        rows: Sequence[bytes],
        vectors: Sequence[NDArray[np.float32]],
        is_live: NDArray[np.bool_],
        version: int,
    ) -> None:
        """Write behind what older views look at, then show it."""
        start, end = len(self._rows), len(self._rows) + len(rows)
        if end > len(self._vectors):
            grown = np.empty((2 * end, self._vectors.shape[1]), dtype=np.float32)
            grown[:start] = self._vectors[:start]
            self._vectors = grown
        for place, vector in enumerate(vectors, start):
            self._vectors[place] = vector
        self._rows.extend(rows)
        self._metadata.extend(_metadata_of(row) for row in rows)
        self.view = View(
            self.generation,
            self.view.extra,
            self._rows,
            self._metadata,
            self._vectors,
            np.concatenate([is_live, np.ones(len(rows), dtype=np.bool_)]),
            version,
        )

    def _vector_of(self, entry: Entry) -> NDArray[np.float32]:
        assert entry.row is not None  # noqa: S101  (both callers looked)
        ad = Ad.model_validate_json(entry.row)
        position = self.generation.trained(ad)
        if position is not None:
            return self.generation.base.index.vector(position)
        assert entry.vector is not None  # noqa: S101  (what the class asks for)
        return self.generation.moved(entry.vector, ad)


def _metadata_of(row: bytes) -> Mapping[str, MetadataValue]:
    metadata: Mapping[str, MetadataValue] = orjson.loads(row).get("metadata") or {}
    return metadata
