"""What the augmentation service takes and gives."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Self

from pydantic import Field, model_validator

from shared.contracts.base import Contract, Identifier
from shared.contracts.document import Document
from shared.contracts.synthetic_queries import WrittenQueries

MAX_DOCUMENTS_PER_REQUEST = 1_000


class WrittenBefore(Contract):
    """Synthetic queries that a generator wrote elsewhere, say overnight on a GPU.

    They are used if the suite's generator has that very name; else it writes its own.
    """

    generator: str
    queries: dict[Identifier, WrittenQueries]
    """Document id -> synthetic queries, with evidence or as a bare list; documents it leaves out are
    generated."""


class DocumentsRequest(Contract):
    """Several documents in one job (one alone may also be posted bare)."""

    documents: list[Document] = Field(min_length=1, max_length=MAX_DOCUMENTS_PER_REQUEST)
    synthetic_queries: WrittenBefore | None = None

    @model_validator(mode="after")
    def _ids_are_distinct(self) -> Self:
        seen: set[str] = set()
        for document in self.documents:
            if document.id in seen:
                raise ValueError(f"document id {document.id!r} occurs twice")
            seen.add(document.id)
        written = self.synthetic_queries.queries if self.synthetic_queries else {}
        unknown = next((each for each in written if each not in seen), None)
        if unknown is not None:
            raise ValueError(
                f"synthetic queries for {unknown!r}, which is not among the documents"
            )
        return self


class JobState(StrEnum):
    """Where a job stands. `partial`: finished, and some documents failed."""

    ACCEPTED = "accepted"
    RUNNING = "running"
    DONE = "done"
    PARTIAL = "partial"
    FAILED = "failed"


class Job(Contract):
    """The record of accepted work; it, not the queue, is the truth."""

    id: Identifier
    state: JobState
    accepted_at: datetime
    finished_at: datetime | None = None
    documents: int
    """How many were accepted; of these `done` have labels and `failed` gave up."""
    done: int = 0
    failed: int = 0
    labels: int = 0
    """Labels written by this job so far."""
    errors: dict[str, str] = Field(default_factory=dict)
    """Document id -> reason, for documents that failed."""


class Provenance(Contract):
    """Why a label exists."""

    synthetic_query: str
    rank: int
    generator: str
    encoder: str
    min_similarity: float
    created_at: datetime


class Label(Contract):
    """An augmented label: the document is right for this train query."""

    query_id: Identifier
    query: str
    similarity: float
    provenance: Provenance


class DocumentLabels(Contract):
    """A document's augmented labels, most similar first, all of one revision."""

    document_id: Identifier
    revision: str | None
    """None while the document waits for its first labels."""
    synthetic_queries: list[str]
    labels: list[Label]


class ExportedLabel(Contract):
    """One line of `GET /v1/labels`: a current augmented label without its provenance."""

    query_id: Identifier
    document_id: Identifier
    similarity: float


class Counts(Contract):
    """What the suite has done so far. A document posted twice is one document, accepted twice."""

    documents: int = 0
    labels: int
    """Current ones: each document's last revision."""
    accepted: int
    """Documents of all jobs: those that wait, are done, and failed."""
    waiting: int
    done: int
    failed: int
    jobs: dict[JobState, int] = Field(default_factory=dict)
    """How many jobs are in each state."""


class Jobs(Contract):
    """The most recent jobs, newest first."""

    jobs: list[Job]
