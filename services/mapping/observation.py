"""Candidates of many documents with all that speaks for them, as arrays: what is calibrated on."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from services.mapping.candidates import Candidate
from services.mapping.evidence import Rows
from services.mapping.mapper import QueryMapper
from services.mapping.query_statistics import QueryStatistics
from services.mapping.rules import PresetRule, Reading, rows_of
from services.mapping.scorers import DESCRIPTION_TOKENS, DocumentScorer, Scorer
from services.mapping.trust import Trust
from shared.contracts.mapping import MapDocument
from shared.dataset import Query
from shared.encoder import TextEncoder

Progress = Callable[[int, int], None]
"""Called with the documents done and their total."""
_HUB_SIMILARITY = 0.6
"""A document counts towards a train query's reach if a trusted synthetic query is at least so near."""
_STEP = 64


@dataclass(frozen=True)
class Observation:
    """Candidates, documents one after the other."""

    documents: Sequence[MapDocument]
    queries: Sequence[Query]
    """Train queries, all."""
    document_rows: NDArray[np.int64]
    query_rows: NDArray[np.int64]
    """(candidates,) positions in the two above."""
    rows: Rows
    is_preset: NDArray[np.bool_]
    """(candidates,) which are labels of the paper's preset."""
    statistics: QueryStatistics

    @property
    def names(self) -> list[str]:
        """Return (document id) of each candidate's document."""
        return [self.documents[row].document_id for row in self.document_rows]

    @property
    def query_ids(self) -> list[str]:
        """Return the train query id of each candidate."""
        return [self.queries[row].id for row in self.query_rows]


class Observer:
    """Looks at what documents' synthetic queries come near to, as the service would.

    Args:
        mapper: searches; its rule decides nothing here.
        encoder: of documents' texts; one that remembers, since each is read twice.
        queries: all train queries of the mapper's index.
        scorers: asked after the one that compares texts.
    """

    def __init__(
        self,
        mapper: QueryMapper,
        encoder: TextEncoder,
        queries: Sequence[Query],
        scorers: Sequence[Scorer] = (),
    ) -> None:
        self._mapper, self._encoder, self._queries = mapper, encoder, queries
        self._scorers = scorers

    def observe(
        self,
        documents: Sequence[MapDocument],
        texts: Mapping[str, str],
        clicks: Mapping[str, Mapping[str, float]],
        reading: Reading,
        preset: PresetRule,
        progress: Progress,
    ) -> Observation:
        """Return all candidates of these documents.

        Args:
            documents: with synthetic queries and text.
            texts: document id -> text, of documents that were clicked.
            clicks: train query id -> document id -> clicks; a document's own click is left out where it is
                compared with those clicked.
            reading: says how far to look.
            preset: the paper's rule, whose trust tells synthetic queries apart.
            progress: told after every few documents.
        """
        found: list[list[Candidate]] = []
        for start in range(0, len(documents), _STEP):
            found += self._mapper.candidates(documents[start : start + _STEP], reading)
            progress(min(start + _STEP, len(documents)) // 2, len(documents))
        trust = preset.trust
        statistics = self._statistics(documents, found, texts, clicks, trust)
        scorer = DocumentScorer(self._encoder, self._mapper.index, statistics, own_clicks=clicks)
        rows = []
        for number, (document, candidates) in enumerate(zip(documents, found, strict=True)):
            scorers = [scorer, *self._scorers]
            rows.append(rows_of(document, candidates, trust, statistics, scorers))
            progress((len(documents) + number + 1) // 2, len(documents))
        row_of = {query.id: row for row, query in enumerate(self._queries)}
        return Observation(
            documents=documents,
            queries=self._queries,
            document_rows=np.repeat(np.arange(len(found)), [len(each) for each in found]),
            query_rows=np.array(
                [row_of[candidate.query.id] for each in found for candidate in each], np.int64
            ),
            rows=np.concatenate(rows) if rows else np.empty((0, 0), dtype=np.float32),
            is_preset=np.concatenate(
                [np.empty(0, np.bool_), *map(preset.would_take, documents, found)]
            ),
            statistics=statistics,
        )

    def _statistics(
        self,
        documents: Sequence[MapDocument],
        found: Sequence[Sequence[Candidate]],
        texts: Mapping[str, str],
        clicks: Mapping[str, Mapping[str, float]],
        trust: Trust,
    ) -> QueryStatistics:
        ids = [query.id for query in self._queries]
        reached = dict.fromkeys(ids, 0)
        for document, candidates in zip(documents, found, strict=True):
            trusted = set(trust.trusted_positions(document))
            for candidate in candidates:
                reached[candidate.query.id] += any(
                    reach.similarity >= _HUB_SIMILARITY and reach.position in trusted
                    for reach in candidate.reached_by
                )
        profiles = np.zeros((len(ids), self._encoder.dimensions), dtype=np.float32)
        for row, query_id in enumerate(ids):
            clicked = [texts[each] for each in clicks.get(query_id, {}) if each in texts]
            if clicked:
                vectors = self._encoder.encode(clicked, max_tokens=DESCRIPTION_TOKENS)
                profiles[row] = vectors.sum(axis=0)
        return QueryStatistics(
            ids,
            np.array(list(reached.values()), dtype=np.float32)
            / np.float32(max(len(documents), 1)),
            profiles,
            np.zeros(len(ids), dtype=np.float32),
            max(len(documents), 1),
        )
