"""What a store does for its callers, and what it is given to keep."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import orjson

from shared.contracts.augmentation import Counts, DocumentLabels, ExportedLabel, Job
from shared.contracts.document import Document
from shared.contracts.mapping import MappedQuery
from shared.contracts.synthetic_queries import SyntheticQueries, WrittenQueries
from shared.errors import InvalidInput


@dataclass(frozen=True)
class Revision:
    """The labels one content of a document gained, and what made them."""

    content_hash: str
    generator: str
    written: WrittenQueries
    encoder: str
    min_similarity: float
    neighbours: int
    labels: Sequence[MappedQuery]
    trust: str = ""
    policy: str = ""
    """Names all that decided which labels these are."""
    index_version: int = 0
    """Of the train queries they were mapped to. A revision replaces none of a newer one."""

    def __post_init__(self) -> None:
        for label in self.labels:
            if not math.isfinite(label.similarity):
                raise InvalidInput(
                    f"train query {label.query_id!r} has similarity {label.similarity}, "
                    "expected a cosine"
                )

    @property
    def name(self) -> str:
        """Return 16 hex digits: the same content treated the same way has the same name."""
        made_by = [
            self.content_hash,
            self.generator,
            self.encoder,
            self.min_similarity,
            self.neighbours,
            self.trust,
        ]
        return hashlib.sha256(orjson.dumps(made_by)).hexdigest()[:16]


class Store(Protocol):
    """Keeps documents, jobs and labels. Every call is one step, and safe to repeat.

    Each call raises `Unavailable` if the store does not answer, and `Conflict` if what it holds was
    written by another version of SKIM.
    """

    def check(self) -> None:
        """Return if the store answers."""

    def accept(self, documents: Sequence[Document]) -> Job:
        """Keep documents (distinct ids) and the record of a new job, all or nothing."""

    def lease(self, job_id: str, document_ids: Sequence[str], seconds: float) -> Sequence[str]:
        """Take documents in hand for a while; return those that still wait."""

    def abandoned(self, limit: int) -> dict[str, list[str]]:
        """Return job id -> waiting documents in nobody's hands, at most `limit` documents."""

    def finish_document(
        self, job_id: str, document_id: str, *, labels: int = 0, error: str | None = None
    ) -> None:
        """Count a waiting document as done, or with `error` as failed; later calls change nothing."""

    def job(self, job_id: str) -> Job:
        """Return a job's record; `NotFound` without one."""

    def recent_jobs(self, limit: int) -> list[Job]:
        """Return the jobs accepted last, newest first."""

    def document(self, document_id: str) -> Document:
        """Return a document as last accepted; `NotFound` without one."""

    def synthetic_queries(self, document: Document, generator: str) -> WrittenQueries | None:
        """Return what a generator wrote for this content of a document, None before it has."""

    def put_synthetic_queries(
        self, document: Document, generator: str, written: WrittenQueries
    ) -> None:
        """Keep what a generator wrote; the first to write wins, outdated content is not kept."""

    def write_labels(self, document_id: str, revision: Revision) -> bool:
        """Make a revision the document's labels in one step, and drop the one before.

        Written again, a revision keeps each train query's best similarity. False, and nothing is
        written, if the document's content is no longer the revision's.
        """

    def labels(self, document_id: str) -> DocumentLabels:
        """Return a document's labels with their provenance; `NotFound` without the document."""

    def iterate_labels(self) -> Iterator[ExportedLabel]:
        """Yield all current labels by document id, most similar first, in flat memory."""

    def iterate_synthetic_queries(self) -> Iterator[SyntheticQueries]:
        """Yield what the current labels were made from, by document id, in flat memory."""

    def documents_of(self, query_id: str) -> list[str]:
        """Return the ids of the documents that have a train query as a label, in order."""

    def counts(self) -> Counts:
        """Return how much there is of everything."""
