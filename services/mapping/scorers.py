"""Second opinions: whether a document is right for a train query, by reading both."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from services.mapping.query_statistics import QueryStatistics
from services.mapping.train_query_index import TrainQueryIndex
from shared.contracts.mapping import MapDocument
from shared.dataset import Query
from shared.encoder import TextEncoder

DESCRIPTION_TOKENS = 128
Scores = NDArray[np.float32]


class Scorer(Protocol):
    """Verifies candidates. A calibration weighs its scores, so any monotone scale will do."""

    @property
    def names(self) -> Sequence[str]:
        """Return what its columns are called."""

    def scores(self, document: MapDocument, queries: Sequence[Query]) -> Scores:
        """Return (queries, names) float32, NaN where it has no opinion; queries come most similar first."""


class DocumentScorer:
    """Compares the document's text with the train query's, and with the documents clicked for it.

    Args:
        encoder: the mapping encoder.
        index: holds the train queries' vectors.
        statistics: hold what was clicked.
        own_clicks: train query id -> documents whose click is in its profile: their own vector is taken out
            before they are compared. Needed where clicks calibrate; elsewhere a clicked pair is a label anyway.
    """

    names = ("description", "clicked_documents")

    def __init__(
        self,
        encoder: TextEncoder,
        index: TrainQueryIndex,
        statistics: QueryStatistics,
        own_clicks: Mapping[str, Mapping[str, float]] | None = None,
    ) -> None:
        self._encoder, self._index, self._statistics = encoder, index, statistics
        self._own_clicks = own_clicks or {}

    def scores(self, document: MapDocument, queries: Sequence[Query]) -> Scores:
        """Return two cosines each: to the train query, to the mean of its clicked documents."""
        scores = np.full((len(queries), 2), np.nan, dtype=np.float32)
        if not document.text or not queries:
            return scores
        vector = self._encoder.encode([document.text], max_tokens=DESCRIPTION_TOKENS)
        found, cosines = self._index.similarities(vector, [query.id for query in queries])
        of_query = {query.id: cosine for query, cosine in zip(found, cosines[0], strict=True)}
        scores[:, 0] = [of_query.get(query.id, np.nan) for query in queries]
        scores[:, 1] = self._by_clicks(document.document_id, vector[0], queries)
        return scores

    def _by_clicks(self, document_id: str, vector: Scores, queries: Sequence[Query]) -> Scores:
        rows = self._statistics.rows_of(queries)
        profiles = np.where(rows[:, None] < 0, np.float32(0), self._statistics.profiles[rows])
        is_own = [document_id in self._own_clicks.get(query.id, {}) for query in queries]
        profiles[is_own] -= vector
        lengths = np.linalg.norm(profiles, axis=1)
        is_known = lengths > 1e-4
        cosines = np.full(len(queries), np.nan, dtype=np.float32)
        cosines[is_known] = profiles[is_known] @ vector / lengths[is_known]
        return cosines
