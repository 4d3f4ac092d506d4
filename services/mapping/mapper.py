"""Synthetic queries in, train queries out: candidates by search, labels by a rule."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Protocol

import numpy as np
import orjson
from numpy.typing import NDArray

from services.mapping.candidates import Candidate, Reach
from services.mapping.rules import MappingRule, PresetRule, Reading
from services.mapping.settings import MappingSettings
from services.mapping.train_query_index import TrainQueryIndex
from services.mapping.trust import Trust
from shared.contracts.mapping import MapDocument, MappedDocument, MappedQuery
from shared.dataset import Query
from shared.encoder import TextEncoder

Near = Mapping[str, Sequence[tuple[Query, float]]]
"""Text of a synthetic query -> the train queries near to it with their cosines, nearest first."""


class Tally(Protocol):
    """Hears what was looked at and what was decided; called from several threads."""

    def looked_at(self, *, near: int, far: int) -> None:
        """Hear how many neighbours are similar enough to be candidates, and how many are not."""

    def decided(
        self, rule: MappingRule, candidates: Sequence[Candidate], labels: Sequence[MappedQuery]
    ) -> None:
        """Hear what became of one document's candidates."""


class QueryMapper:
    """Maps synthetic queries to train queries. Safe to call from several threads.

    Args:
        encoder: the one that made the index's vectors.
        index: the train queries.
        rule: decides what becomes a label.
        preset: decides for a request that names tau or neighbours of its own.
    """

    def __init__(
        self,
        encoder: TextEncoder,
        index: TrainQueryIndex,
        rule: MappingRule,
        preset: PresetRule,
    ) -> None:
        self.encoder = encoder
        self.index = index
        self.rule = rule
        self.preset = preset

    @property
    def policy(self) -> str:
        """Return 12 hex digits that differ where anything differs that decides on labels."""
        return hashlib.sha256(orjson.dumps([self.encoder.name, self.rule.name])).hexdigest()[:12]

    def map(
        self,
        documents: Sequence[MapDocument],
        *,
        rule: MappingRule | None = None,
        among: Sequence[str] | None = None,
        tally: Tally | None = None,
    ) -> list[MappedDocument]:
        """Return each document's train queries, in the order of `documents`.

        A train query that several synthetic queries of a document reach is kept once, with its best
        similarity; of equals the one of better rank, then the one written first.

        Args:
            documents: with their synthetic queries.
            rule: decides instead of the mapper's.
            among: only these train queries are looked at.
            tally: hears what was decided.
        """
        rule = rule or self.rule
        mapped = []
        found = self.candidates(documents, rule, among, tally)
        for document, candidates in zip(documents, found, strict=True):
            labels = rule.labels(document, candidates)
            mapped.append(MappedDocument(document_id=document.document_id, labels=labels))
            if tally is not None:
                tally.decided(rule, candidates, labels)
        return mapped

    def candidates(
        self,
        documents: Sequence[MapDocument],
        reading: Reading,
        among: Sequence[str] | None = None,
        tally: Tally | None = None,
    ) -> list[list[Candidate]]:
        """Return what there is to decide on, for each document, most similar first."""
        positions = [reading.positions(document) for document in documents]
        texts = {
            document.queries[position]: None
            for document, chosen in zip(documents, positions, strict=True)
            for position in chosen
        }
        near = self._near(list(texts), reading, among, tally)
        return [
            _candidates_of(document, chosen, near)
            for document, chosen in zip(documents, positions, strict=True)
        ]

    def _near(
        self,
        texts: Sequence[str],
        reading: Reading,
        among: Sequence[str] | None,
        tally: Tally | None,
    ) -> Near:
        vectors = self.encoder.encode(texts)
        found = (
            self.index.nearest(vectors, reading.neighbours)
            if among is None
            else _nearest_of(*self.index.similarities(vectors, among), reading.neighbours)
        )
        near = {
            text: [each for each in row if each[1] >= reading.least_similarity]
            for text, row in zip(texts, found, strict=True)
        }
        if tally is not None:
            reached = sum(map(len, near.values()))
            tally.looked_at(near=reached, far=sum(map(len, found)) - reached)
        return near


def preset_of(settings: MappingSettings) -> PresetRule:
    """Return the paper's rule with the service's tau, neighbours and trust."""
    return PresetRule(Trust.of(settings), settings.min_similarity, settings.neighbours)


def _candidates_of(document: MapDocument, positions: Sequence[int], near: Near) -> list[Candidate]:
    queries: dict[str, Query] = {}
    reached_by: dict[str, list[Reach]] = {}
    for position in positions:
        for rank, (query, similarity) in enumerate(near[document.queries[position]], start=1):
            queries[query.id] = query
            reached_by.setdefault(query.id, []).append(Reach(position, similarity, rank))
    found = [Candidate(queries[query_id], reaches) for query_id, reaches in reached_by.items()]
    return sorted(found, key=lambda each: (-each.best.similarity, each.query.id))


def _nearest_of(
    queries: Sequence[Query], cosines: NDArray[np.float32], k: int
) -> list[list[tuple[Query, float]]]:
    """Sort each row of (texts, queries) cosines and keep the best k."""
    order = np.argsort(-cosines, axis=1, kind="stable")[:, :k]
    return [
        [(queries[column], float(row[column])) for column in columns]
        for row, columns in zip(cosines, order.tolist(), strict=True)
    ]
