"""A batch of documents from text to labels: generate, map, store; or map anew what is stored."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from typing import Protocol

import structlog
from pydantic import ValidationError

from services.augmentation.ads import AdPublisher
from shared.contracts.document import Document
from shared.contracts.generation import GenerateResponse, GenerationInfo
from shared.contracts.mapping import MapDocument, MapRequest, MapResponse
from shared.contracts.synthetic_queries import WrittenQueries
from shared.errors import InvalidInput, NotFound, SkimError, Unanswered, Unavailable
from shared.store import Revision, Store, Stored

PAUSE_SECONDS = 5
"""Between two tries of what failed: whatever else was the matter may be over by then."""
_REASON_CHARACTERS = 500
_TEXT_CHARACTERS = 4_000
"""Of a document that the mapping may read to verify its labels."""
_log = structlog.get_logger()
_Make = Callable[[Sequence[str]], dict[str, Revision]]


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
        lease_seconds: what is in hands is let go of by itself after so long; it is renewed while we work.
        ads: makes augmented documents ads; nobody does if absent.
    """

    def __init__(
        self,
        store: Store,
        generation: Generates,
        mapping: Maps,
        *,
        lease_seconds: float,
        ads: AdPublisher | None = None,
    ) -> None:
        self._ads = ads
        self._store = store
        self._generation = generation
        self._mapping = mapping
        self._lease_seconds = lease_seconds

    def augment(
        self, job_id: str, document_ids: Sequence[str], owner: str | None = None
    ) -> Sequence[str]:
        """Work on those documents of a job that still wait, and finish each of them.

        A remap's documents are mapped anew from the synthetic queries that their labels came from, and
        the generation service is not asked. One without such queries of its current content is done,
        with no labels: the job that changed it is about to give it its own.

        Args:
            job_id: of the job.
            document_ids: of the batch.
            owner: the message's id, by which one that comes again takes over from its dead worker.

        Returns:
            Those that have to be tried alone, since a batch that they were in failed.

        Raises:
            Unavailable: the store or a service does not answer; what was not finished still waits, and
                this does not count as a try.
        """
        owner = owner or uuid.uuid4().hex
        taken = self._store.take(job_id, document_ids, owner, self._lease_seconds)
        if taken.document_ids:
            self._try(job_id, taken.document_ids, owner)
        return taken.apart

    def _try(self, job_id: str, document_ids: Sequence[str], owner: str) -> None:
        """Work on what is in our hands, and say of what was not finished whether the try counts."""
        with self._holding(job_id, document_ids, owner):
            try:
                remap = self._store.remap_of(job_id)
                make = (
                    self._augmented
                    if remap is None
                    else partial(self._remapped, among=remap.among)
                )
                self._work(job_id, document_ids, make)
            except Unanswered as error:
                self._blame(job_id, document_ids, owner, error)
            except Unavailable:
                self._store.hand_back(job_id, document_ids, owner, self._lease_seconds)
                raise
            except Exception as error:  # noqa: BLE001  (time is up, memory is full, a defect of ours)
                self._blame(job_id, document_ids, owner, error)
            except BaseException:  # we are told to end
                with suppress(SkimError):
                    self._store.hand_back(job_id, document_ids, owner, 0)
                raise

    def _blame(
        self, job_id: str, document_ids: Sequence[str], owner: str, error: Exception
    ) -> None:
        reason = reason_of(error)
        _log.warning("try_failed", job=job_id, documents=len(document_ids), reason=reason)
        self._store.blame(job_id, document_ids, owner, PAUSE_SECONDS, reason)

    @contextmanager
    def _holding(self, job_id: str, document_ids: Sequence[str], owner: str) -> Iterator[None]:
        """Renew the lease from beside the work. A process that no longer runs renews nothing."""
        is_over = threading.Event()

        def renew() -> None:
            while not is_over.wait(self._lease_seconds / 3):
                with suppress(SkimError):  # tried again; at worst another does the same work
                    self._store.renew(job_id, document_ids, owner, self._lease_seconds)

        renewing = threading.Thread(target=renew, daemon=True)
        renewing.start()
        try:
            yield
        finally:
            is_over.set()
            renewing.join(timeout=1)

    def _work(self, job_id: str, document_ids: Sequence[str], make: _Make) -> None:
        """Write and finish a batch; one that is refused is halved until the one at fault is alone."""
        try:
            revisions = make(document_ids)
        except InvalidInput as error:
            if len(document_ids) == 1:
                _log.warning("document_refused", job=job_id, document=document_ids[0])
                self._store.finish_document(job_id, document_ids[0], error=str(error))
                return
            middle = len(document_ids) // 2
            self._work(job_id, document_ids[:middle], make)
            self._work(job_id, document_ids[middle:], make)
            return
        for document_id in document_ids:
            revision = revisions.get(document_id)
            is_written = revision is not None and self._store.write_labels(document_id, revision)
            # A document that changed meanwhile belongs to the job that changed it.
            labels = len(revision.labels) if revision is not None and is_written else 0
            self._store.finish_document(job_id, document_id, labels=labels)

    def _augmented(self, document_ids: Sequence[str]) -> dict[str, Revision]:
        documents = []
        for document_id in document_ids:
            with suppress(NotFound):  # removed meanwhile
                documents.append(self._store.document(document_id))
        written = self._written(documents) if documents else []
        revisions = self._mapped(written) if written else {}
        if self._ads is not None:
            self._ads.publish(written)
        return revisions

    def _remapped(self, document_ids: Sequence[str], among: Sequence[str]) -> dict[str, Revision]:
        """Return the revisions of documents that can be mapped anew, or of those that reach `among`."""
        documents = list(self._store.stored(document_ids).values())
        if documents and among:
            reached = self._reached(documents, among)
            documents = [each for each in documents if each.document.id in reached]
        return self._mapped(documents) if documents else {}

    def _reached(self, documents: Sequence[Stored], among: Sequence[str]) -> set[str]:
        """Return the ids of the documents that gain a label to one of these train queries."""
        mapped = self._mapping.map(_request(documents, list(among)))
        followed = self._store.followed()
        if followed and mapped.index_version < followed.version:
            raise Unavailable(
                f"the mapping service answers with version {mapped.index_version} of its train "
                f"queries, expected {followed.version} or later"
            )
        return {each.document_id for each in mapped.results if each.labels}

    def _mapped(self, documents: Sequence[Stored]) -> dict[str, Revision]:
        mapped = self._mapping.map(_request(documents))
        return {
            each.document.id: Revision(
                content_hash=each.document.content_hash,
                generator=each.generator,
                written=each.written,
                encoder=mapped.encoder,
                min_similarity=mapped.min_similarity,
                neighbours=mapped.neighbours,
                trust=mapped.trust,
                policy=mapped.policy,
                index_version=mapped.index_version,
                labels=result.labels,
            )
            for each, result in zip(documents, mapped.results, strict=True)
        }

    def _written(self, documents: Sequence[Document]) -> list[Stored]:
        """Return documents with what the generator wrote for them, now or before."""
        generator = self._generator()
        self._store.note_generator(generator)
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
        return [Stored(document, generator, queries[document.id]) for document in documents]

    def _generator(self) -> str:
        try:
            return self._generation.info().generator
        except Unanswered as error:  # whatever is the matter there, no document is
            raise Unavailable(str(error)) from error


def reason_of(error: BaseException) -> str:
    """Return why a try failed, in at most 500 characters and without what a document says."""
    if isinstance(error, ValidationError):
        first = error.errors(include_input=False, include_url=False)[0]
        where = ".".join(map(str, first["loc"]))
        return f"an answer that is not our contract: {where}: {first['msg']}"[:_REASON_CHARACTERS]
    if isinstance(error, SkimError):
        return str(error)[:_REASON_CHARACTERS]
    return f"{type(error).__name__}: {error}"[:_REASON_CHARACTERS]


def _request(documents: Sequence[Stored], among: list[str] | None = None) -> MapRequest:
    return MapRequest(
        documents=[
            MapDocument(
                document_id=each.document.id,
                text=each.document.described()[:_TEXT_CHARACTERS],
                queries=each.written.queries,
                evidence=each.written.evidence,
            )
            for each in documents
        ],
        among=among,
    )
