"""Synthetic queries in, train queries out: the neighbours that reach tau, best first."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import orjson
from numpy.typing import NDArray

from services.mapping.settings import MappingSettings
from services.mapping.train_query_index import TrainQueryIndex
from services.mapping.trust import Trust
from shared.contracts.mapping import MappedDocument, MappedQuery
from shared.contracts.synthetic_queries import SyntheticQueries
from shared.dataset import Query
from shared.encoder import SentenceEncoder


class QueryMapper:
    """Maps synthetic queries to train queries. Safe to call from several threads.

    Args:
        encoder: the one that made the index's vectors.
        index: the train queries.
        trust: which synthetic queries may lead to labels.
        min_similarity: tau, as a cosine; a neighbour below it is no label.
        neighbours: how many train queries a synthetic query may reach.
    """

    def __init__(
        self,
        encoder: SentenceEncoder,
        index: TrainQueryIndex,
        *,
        trust: Trust,
        min_similarity: float,
        neighbours: int,
    ) -> None:
        self.encoder = encoder
        self.index = index
        self.trust = trust
        self.min_similarity = min_similarity
        self.neighbours = neighbours

    @property
    def policy(self) -> str:
        """Return 12 hex digits that differ where anything differs that decides on labels."""
        parts = [self.encoder.name, self.min_similarity, self.neighbours, self.trust.name]
        return hashlib.sha256(orjson.dumps(parts)).hexdigest()[:12]

    def map(
        self,
        documents: Sequence[SyntheticQueries],
        *,
        min_similarity: float | None = None,
        neighbours: int | None = None,
        among: Sequence[str] | None = None,
    ) -> list[MappedDocument]:
        """Return each document's train queries, in the order of `documents`.

        A train query that several synthetic queries of a document reach is kept once, with its best
        similarity; of equals the one of better rank, then the one written first. With `among` only
        these train queries are looked at.
        """
        tau = self.min_similarity if min_similarity is None else min_similarity
        trusted = [self.trust.trusted(document) for document in documents]
        reached = self._reached(trusted, tau, neighbours or self.neighbours, among)
        return [
            MappedDocument(document_id=document.document_id, labels=_best(texts, reached))
            for document, texts in zip(documents, trusted, strict=True)
        ]

    def _reached(
        self,
        trusted: Sequence[Sequence[str]],
        tau: float,
        neighbours: int,
        among: Sequence[str] | None,
    ) -> dict[str, list[MappedQuery]]:
        """Return the train queries each distinct synthetic query reaches."""
        texts = list(dict.fromkeys(text for queries in trusted for text in queries))
        # One text a call: in a batch an int8 encoder scales a text by its company, and what a
        # document is mapped to would depend on who it came with (cosines moved by up to .05).
        vectors = self.encoder.encode(texts, batch_size=1)
        near = (
            self.index.nearest(vectors, neighbours)
            if among is None
            else _nearest_of(*self.index.similarities(vectors, among), neighbours)
        )
        return {
            text: [
                MappedQuery(
                    query_id=query.id,
                    query=query.text,
                    similarity=similarity,
                    synthetic_query=text,
                    rank=rank,
                )
                for rank, (query, similarity) in enumerate(row, start=1)
                if similarity >= tau
            ]
            for text, row in zip(texts, near, strict=True)
        }


def open_mapper(models: Path, folder: Path, settings: MappingSettings) -> QueryMapper:
    """Load the mapping encoder from `models/encoder` and the index from `folder`.

    Raises:
        NotFound: either is missing; the message says what to run.
        Damaged: a file is not what its manifest says.
        Conflict: the index was built with another encoder.
    """
    encoder = SentenceEncoder(models / "encoder")
    index = TrainQueryIndex.load(
        folder, encoder=encoder.name, dimensions=encoder.dimensions, ef=settings.ef
    )
    return QueryMapper(
        encoder,
        index,
        trust=Trust.of(settings),
        min_similarity=settings.min_similarity,
        neighbours=settings.neighbours,
    )


def _nearest_of(
    queries: Sequence[Query], cosines: NDArray[np.float32], k: int
) -> list[list[tuple[Query, float]]]:
    """Sort each row of (texts, queries) cosines and keep the best k."""
    order = np.argsort(-cosines, axis=1, kind="stable")[:, :k]
    return [
        [(queries[column], float(row[column])) for column in columns]
        for row, columns in zip(cosines, order.tolist(), strict=True)
    ]


def _best(texts: Sequence[str], reached: Mapping[str, Sequence[MappedQuery]]) -> list[MappedQuery]:
    best: dict[str, MappedQuery] = {}
    agreement = Counter(label.query_id for text in texts for label in reached[text])
    for text in texts:
        for label in reached[text]:
            known = best.get(label.query_id)
            if known is None or _order(label) < _order(known):
                best[label.query_id] = label
    labels = [
        label.model_copy(update={"agreement": agreement[label.query_id]})
        for label in best.values()
    ]
    return sorted(labels, key=_order)


def _order(label: MappedQuery) -> tuple[float, int, str]:
    return (-label.similarity, label.rank, label.query_id)
