"""A mapping service without a model whose train queries change, and a generator that copies."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from shared.contracts.document import Document
from shared.contracts.generation import GeneratedQueries, GenerateResponse, GenerationInfo
from shared.contracts.mapping import (
    MapDocument,
    MappedDocument,
    MappedQuery,
    MappingInfo,
    MapRequest,
    MapResponse,
    TrainQueryChanges,
)
from shared.errors import Unavailable

_TAU = {"p1": 0.3, "p2": 0.6}
_NEIGHBOURS = 2


class LiveMapping:
    """Maps to the two train queries with most words in common. Keeps its history from version `known_from`."""

    def __init__(self) -> None:
        self.policy = "p1"
        self.version = 1
        self.known_from = 0
        self.requests: list[MapRequest] = []
        self.is_away = False
        self.meanwhile: Callable[[], None] = lambda: None
        self._texts: dict[str, str] = {}
        self._changes: list[tuple[int, str, bool, bool]] = []

    def put(self, query_id: str, text: str) -> None:
        """Add a train query or change its text."""
        self.version += 1
        self._changes.append((self.version, query_id, True, query_id in self._texts))
        self._texts[query_id] = text

    def remove(self, query_id: str) -> None:
        """Remove a train query if it is there."""
        if self._texts.pop(query_id, None) is not None:
            self.version += 1
            self._changes.append((self.version, query_id, False, True))

    def info(self) -> MappingInfo:
        """Say what it maps with."""
        self._check()
        return MappingInfo(
            encoder="words",
            train_queries=len(self._texts),
            policy=self.policy,
            index_version=self.version,
            min_similarity=_TAU[self.policy],
            neighbours=_NEIGHBOURS,
        )

    def changes(self, since: int) -> TrainQueryChanges:
        """Return what became of the train queries after a version."""
        self._check()
        later = [change for change in self._changes if change[0] > since]
        touched = dict.fromkeys(query_id for _, query_id, _, _ in later)
        were_there = {
            query_id
            for query_id in touched
            if next(was_there for _, each, _, was_there in later if each == query_id)
        }
        return TrainQueryChanges(
            version=self.version,
            policy=self.policy,
            is_complete=self.known_from <= since <= self.version,
            added=[each for each in touched if each in self._texts],
            removed=[each for each in touched if each in were_there],
        )

    def map(self, request: MapRequest) -> MapResponse:
        """Return each document's train queries; `meanwhile` runs before the answer arrives."""
        self._check()
        self.requests.append(request)
        info = self.info()
        response = MapResponse(
            encoder=info.encoder,
            min_similarity=info.min_similarity,
            neighbours=info.neighbours,
            policy=info.policy,
            index_version=info.index_version,
            results=[
                MappedDocument(
                    document_id=document.document_id, labels=self._labels(document, request.among)
                )
                for document in request.documents
            ],
        )
        self.meanwhile()
        return response

    def labels_of(self, texts: Sequence[str]) -> dict[str, float]:
        """Return train query id -> similarity as a document with these synthetic queries has now."""
        document = MapDocument(document_id="any", queries=list(texts))
        return {label.query_id: label.similarity for label in self._labels(document, None)}

    def _labels(self, document: MapDocument, among: Iterable[str] | None) -> list[MappedQuery]:
        best: dict[str, MappedQuery] = {}
        looked_at = set(self._texts) if among is None else set(among) & set(self._texts)
        for text in document.queries:
            near = sorted((-_similarity(text, self._texts[each]), each) for each in looked_at)
            for rank, (distance, query_id) in enumerate(near[:_NEIGHBOURS], start=1):
                known = best.get(query_id)
                if -distance < _TAU[self.policy] or (known and known.similarity >= -distance):
                    continue
                best[query_id] = MappedQuery(
                    query_id=query_id,
                    query=self._texts[query_id],
                    similarity=-distance,
                    synthetic_query=text,
                    rank=rank,
                )
        return list(best.values())

    def _check(self) -> None:
        if self.is_away:
            raise Unavailable("the mapping service is away")


class Scribe:
    """Writes the parts of a document's text between commas."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def info(self) -> GenerationInfo:
        """Say who writes."""
        return GenerationInfo(
            generator="scribe", adapter="none", temperature=0, top_k=1, max_new_tokens=8
        )

    def generate(self, documents: Sequence[Document]) -> GenerateResponse:
        """Return each document's synthetic queries."""
        self.asked += [document.id for document in documents]
        return GenerateResponse(
            generator="scribe",
            results=[
                GeneratedQueries(document_id=each.id, queries=each.text.split(", "))
                for each in documents
            ],
        )


def _similarity(one: str, other: str) -> float:
    words, others = set(one.split()), set(other.split())
    return len(words & others) / len(words | others)
