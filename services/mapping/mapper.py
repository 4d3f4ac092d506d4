"""Synthetic queries in, train queries out: the neighbours that reach tau, best first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from services.mapping.settings import MappingSettings
from services.mapping.train_query_index import TrainQueryIndex
from services.mapping.trust import Trust
from shared.contracts.mapping import MappedDocument, MappedQuery
from shared.contracts.synthetic_queries import SyntheticQueries
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

    def map(
        self,
        documents: Sequence[SyntheticQueries],
        *,
        min_similarity: float | None = None,
        neighbours: int | None = None,
    ) -> list[MappedDocument]:
        """Return each document's train queries, in the order of `documents`.

        A train query that several synthetic queries of a document reach is kept once, with its best
        similarity; of equals the one of better rank, then the one written first.
        """
        tau = self.min_similarity if min_similarity is None else min_similarity
        trusted = [self.trust.trusted(document) for document in documents]
        reached = self._reached(trusted, tau, neighbours or self.neighbours)
        return [
            MappedDocument(document_id=document.document_id, labels=_best(texts, reached))
            for document, texts in zip(documents, trusted, strict=True)
        ]

    def _reached(
        self, trusted: Sequence[Sequence[str]], tau: float, neighbours: int
    ) -> dict[str, list[MappedQuery]]:
        """Return the train queries each distinct synthetic query reaches."""
        texts = list(dict.fromkeys(text for queries in trusted for text in queries))
        # One text a call: in a batch an int8 encoder scales a text by its company, and what a
        # document is mapped to would depend on who it came with (cosines moved by up to .05).
        vectors = self.encoder.encode(texts, batch_size=1)
        positions, cosines = self.index.search(vectors, neighbours)
        reached: dict[str, list[MappedQuery]] = {}
        for text, row, similarities in zip(
            texts, positions.tolist(), cosines.tolist(), strict=True
        ):
            reached[text] = [
                MappedQuery(
                    query_id=self.index.queries[position].id,
                    query=self.index.queries[position].text,
                    similarity=similarity,
                    synthetic_query=text,
                    rank=rank,
                )
                for rank, (position, similarity) in enumerate(
                    zip(row, similarities, strict=True), start=1
                )
                if similarity >= tau
            ]
        return reached


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


def _best(texts: Sequence[str], reached: Mapping[str, Sequence[MappedQuery]]) -> list[MappedQuery]:
    best: dict[str, MappedQuery] = {}
    for text in texts:
        for label in reached[text]:
            known = best.get(label.query_id)
            if known is None or _order(label) < _order(known):
                best[label.query_id] = label
    return sorted(best.values(), key=_order)


def _order(label: MappedQuery) -> tuple[float, int, str]:
    return (-label.similarity, label.rank, label.query_id)
