"""A batch of documents from text to labels: generate, map, store."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import structlog

from shared.contracts.document import Document
from shared.contracts.generation import GenerateResponse, GenerationInfo
from shared.contracts.mapping import MapDocument, MapRequest, MapResponse
from shared.contracts.synthetic_queries import WrittenQueries
from shared.errors import InvalidInput, Unavailable
from shared.store import Revision, Store

_TEXT_CHARACTERS = 4_000
"""Of a document that the mapping may read to verify its labels."""
_log = structlog.get_logger()


class Generates(Protocol):
    """Writes synthetic queries."""

    def info(self) -> GenerationInfo:
        """Say which generator writes."""

    def generate(self, documents: Sequence[Document]) -> GenerateResponse:
        """Return each document's synthetic queries, in the order given."""


class Maps(Protocol):
    """Maps synthetic queries to train queries."""

    def map(self, request: MapRequest) -> MapResponse:
        """Return each document's train queries, in the order given."""


class Augmenter:
    """Gives documents their labels. Any batch may be augmented again: nothing counts twice.

    Args:
        store: holds documents and jobs, takes synthetic queries and labels.
        generation: asked only for what the store has no synthetic queries of.
        mapping: asked for every batch.
        lease_seconds: how long a batch may take before it counts as abandoned.
    """

    def __init__(
        self, store: Store, generation: Generates, mapping: Maps, *, lease_seconds: float
    ) -> None:
        self._store = store
        self._generation = generation
        self._mapping = mapping
        self._lease_seconds = lease_seconds

    def augment(self, job_id: str, document_ids: Sequence[str]) -> None:
        """Augment those documents of a job that still wait, and finish each of them.

        Raises:
            Unavailable: the store or a service does not answer; what was not finished still waits.
        """
        waiting = self._store.lease(job_id, document_ids, self._lease_seconds)
        if waiting:
            self._augment(job_id, [self._store.document(each) for each in waiting])

    def _augment(self, job_id: str, documents: Sequence[Document]) -> None:
        """Augment a batch; one that is refused is halved until the document at fault is alone."""
        try:
            revisions = self._revisions_of(documents)
        except InvalidInput as error:
            if len(documents) == 1:
                _log.warning("document_refused", job=job_id, document=documents[0].id)
                self._store.finish_document(job_id, documents[0].id, error=str(error))
                return
            middle = len(documents) // 2
            self._augment(job_id, documents[:middle])
            self._augment(job_id, documents[middle:])
            return
        for document, revision in zip(documents, revisions, strict=True):
            is_written = self._store.write_labels(document.id, revision)
            # A document that changed meanwhile belongs to the job that changed it.
            labels = len(revision.labels) if is_written else 0
            self._store.finish_document(job_id, document.id, labels=labels)

    def _revisions_of(self, documents: Sequence[Document]) -> list[Revision]:
        generator, queries = self._synthetic_queries_of(documents)
        mapped = self._mapping.map(
            MapRequest(
                documents=[
                    MapDocument(
                        document_id=document.id,
                        text=document.described()[:_TEXT_CHARACTERS],
                        queries=queries[document.id].queries,
                        evidence=queries[document.id].evidence,
                    )
                    for document in documents
                ]
            )
        )
        return [
            Revision(
                content_hash=document.content_hash,
                generator=generator,
                written=queries[document.id],
                encoder=mapped.encoder,
                min_similarity=mapped.min_similarity,
                neighbours=mapped.neighbours,
                trust=mapped.trust,
                policy=mapped.policy,
                index_version=mapped.index_version,
                labels=result.labels,
            )
            for document, result in zip(documents, mapped.results, strict=True)
        ]

    def _synthetic_queries_of(
        self, documents: Sequence[Document]
    ) -> tuple[str, dict[str, WrittenQueries]]:
        """Return the generator's name and document id -> what it wrote, now or before."""
        generator = self._generation.info().generator
        queries: dict[str, WrittenQueries] = {}
        new: list[Document] = []
        for document in documents:
            known = self._store.synthetic_queries(document, generator)
            if known is None:
                new.append(document)
            else:
                queries[document.id] = known
        if new:
            written = self._generation.generate(new)
            if written.generator != generator:
                raise Unavailable(f"the generator changed from {generator} to {written.generator}")
            for document, result in zip(new, written.results, strict=True):
                self._store.put_synthetic_queries(document, generator, result)
                queries[document.id] = result
        return generator, queries
