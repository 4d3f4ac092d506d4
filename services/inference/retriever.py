"""A query in, its top ads out: encode, search."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from shared.ad_index import AdIndex
from shared.bundle import current, open_bundle
from shared.contracts.document import Document
from shared.contracts.inference import InferenceInfo
from shared.encoder import SentenceEncoder
from shared.errors import NotFound

_WARM_UP_WORDS = (1, 2, 4, 8, 16, 32)


@dataclass(frozen=True, slots=True)
class Ranking:
    """The top ads of a query, best first, and where the time went."""

    ads: Sequence[tuple[Document, float]]
    """Each with its score."""
    encode_seconds: float
    search_seconds: float
    vector: NDArray[np.float32] = field(default_factory=lambda: np.empty(0, dtype=np.float32))
    """(dimensions,) of the query."""


class Retriever:
    """Answers queries from one bundle. Safe to call from several threads.

    Args:
        encoder: turns a query into a vector.
        index: over the ads' vectors; position n is `ads[n]`.
        ads: what the positions of the index stand for.
        generation: names the bundle all of these come from.
        metrics: what training measured.
    """

    def __init__(
        self,
        encoder: SentenceEncoder,
        index: AdIndex,
        ads: Sequence[Document],
        generation: str,
        metrics: Mapping[str, float] | None = None,
    ) -> None:
        self.info = InferenceInfo(
            generation=generation,
            ads=len(ads),
            encoder=encoder.name,
            dimensions=encoder.dimensions,
            index=index.kind,
            metrics=dict(metrics or {}),
        )
        self._encoder = encoder
        self._index = index
        self._ads = ads
        self._by_id = {ad.id: ad for ad in ads}

    @property
    def generation(self) -> str:
        """Return the name of the bundle that answers."""
        return self.info.generation

    def top(self, query: str, k: int) -> Ranking:
        """Return the `k` best ads of `query`, or all if there are fewer."""
        started = time.perf_counter()
        vectors = self._encoder.encode([query])
        encoded = time.perf_counter()
        scores, positions = self._index.search(vectors, k)
        searched = time.perf_counter()
        ads = [
            (self._ads[position], score)
            for position, score in zip(positions[0].tolist(), scores[0].tolist(), strict=True)
        ]
        return Ranking(ads, encoded - started, searched - encoded, vectors[0])

    @property
    def population(self) -> int:
        """Return how many ads there are."""
        return len(self._ads)

    def at(self, positions: Sequence[int], ranking: Ranking) -> list[tuple[Document, float]]:
        """Return the ads at these positions with their scores for the ranking's query."""
        scores = self._index.vectors[positions] @ ranking.vector
        return [
            (self._ads[position], score)
            for position, score in zip(positions, scores.tolist(), strict=True)
        ]

    def ad(self, ad_id: str) -> Document:
        """Return one ad.

        Raises:
            NotFound: the bundle has no ad of that id.
        """
        try:
            return self._by_id[ad_id]
        except KeyError:
            raise NotFound(f"bundle {self.generation} has no ad {ad_id!r}") from None

    def warm_up(self) -> None:
        """Answer one query of each length, so that no caller waits for first allocations."""
        for words in _WARM_UP_WORDS:
            self.top(" ".join(["word"] * words), 10)


def open_retriever(bundles: Path) -> Retriever:
    """Verify and open the current bundle, and warm its retriever up.

    Raises:
        NotFound: no bundle is published.
        Damaged: a file of it is not what its manifest says.
    """
    bundle = open_bundle(current(bundles))
    retriever = Retriever(
        SentenceEncoder(bundle.encoder),
        AdIndex(bundle.vectors),
        bundle.ads,
        bundle.manifest.version,
        bundle.manifest.metrics,
    )
    retriever.warm_up()
    return retriever
