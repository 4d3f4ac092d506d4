"""What is known of train queries beside their text: who reaches them, and what was clicked for them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

from shared.dataset import Query
from shared.errors import Damaged

Floats = NDArray[np.float32]


class QueryStatistics:
    """Statistics by train query; one added since they were counted has none.

    Args:
        ids: of the train queries.
        reach: (ids,) share of the documents looked at that come near to each: hubs have much of it.
        profiles: (ids, dimensions) sum of the vectors of the documents clicked for each; zeros without clicks.
        bars: (ids,) probability below which a label to it is dropped, so that it absorbs no more documents
            than it may; 0 for most.
        documents: how many were looked at.
    """

    def __init__(
        self, ids: Sequence[str], reach: Floats, profiles: Floats, bars: Floats, documents: int
    ) -> None:
        self.ids, self.reach, self.profiles, self._bars = ids, reach, profiles, bars
        self.documents = documents
        self._rows: Mapping[str, int] = {query_id: row for row, query_id in enumerate(ids)}

    def rows_of(self, queries: Sequence[Query]) -> NDArray[np.int64]:
        """Return where each train query stands, -1 for one that is not known."""
        return np.array([self._rows.get(query.id, -1) for query in queries], dtype=np.int64)

    def log_reach(self, queries: Sequence[Query]) -> Floats:
        """Return (queries,) log(share + 1 / documents), NaN for unknown ones."""
        rows = self.rows_of(queries)
        shares = np.log(self.reach[rows] + np.float32(1 / self.documents))
        return np.where(rows < 0, np.float32(np.nan), shares)

    def bars(self, queries: Sequence[Query]) -> Floats:
        """Return (queries,) the probability that a label to each must have, 0 for unknown ones."""
        rows = self.rows_of(queries)
        return np.where(rows < 0, np.float32(0), self._bars[rows])

    def save(self, path: Path) -> None:
        """Write all to a `.npz` file."""
        with path.open("wb") as file:
            np.savez(
                file,
                ids=np.array(self.ids, dtype=np.str_),
                reach=self.reach,
                profiles=self.profiles,
                bars=self._bars,
                documents=np.int64(self.documents),
            )

    @classmethod
    def load(cls, path: Path, dimensions: int) -> Self:
        """Read what `save` wrote; `Damaged` if the arrays do not fit together."""
        try:
            with np.load(path, allow_pickle=False) as arrays:
                ids: list[str] = arrays["ids"].tolist()
                reach, profiles = arrays["reach"], arrays["profiles"]
                bars, documents = arrays["bars"], int(arrays["documents"])
        except (OSError, ValueError, KeyError, EOFError) as error:
            raise Damaged(f"{path}: not statistics of train queries ({error})") from error
        size = len(ids)
        shapes = (reach.shape, bars.shape, profiles.shape)
        if shapes != ((size,), (size,), (size, dimensions)) or documents < 1:
            raise Damaged(f"{path}: arrays of {size} train queries have shapes {shapes}")
        return cls(ids, reach, profiles, bars, documents)
