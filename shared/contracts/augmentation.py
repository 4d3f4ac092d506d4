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
    queries: dict[Identifier, WrittenQueries] = Field(
        json_schema_extra={"additionalProperties": False}
    )
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
    """Where a job stands. `partial`: finished, and some documents failed; `failed`: all did."""

    ACCEPTED = "accepted"
    RUNNING = "running"
    DONE = "done"
    PARTIAL = "partial"
    FAILED = "failed"
    CANCELLED = "cancelled"


FINAL_STATES = frozenset({JobState.DONE, JobState.PARTIAL, JobState.FAILED, JobState.CANCELLED})
"""A job in one of these is over."""


class JobKind(StrEnum):
    """What a job does with its documents. `remap`: map them anew from the synthetic queries there are."""

    AUGMENT = "augment"
    REMAP = "remap"


class Refusal(Contract):
    """A line of an upload that was not accepted. Its neighbours were."""

    line: int
    """From 1."""
    id: str | None = None
    """Of the document, where the line has one."""
    reason: str


class Job(Contract):
    """The record of accepted work; it, not the queue, is the truth."""

    id: Identifier
    kind: JobKind = JobKind.AUGMENT
    state: JobState
    accepted_at: datetime
    finished_at: datetime | None = None
    documents: int
    """How many were accepted; of these `done` have labels and `failed` gave up. A remap of everything
    accepts documents while it goes."""
    unchanged: int = 0
    """Of `done`, those that had labels of the current generator for the same content: nothing was to do."""
    done: int = 0
    failed: int = 0
    cancelled: int = 0
    """Not worked on, since the job was cancelled. What a worker had in hand then still gets done."""
    refused: int = 0
    """Lines of an upload that were not accepted, beside `documents`."""
    refusals: list[Refusal] = Field(default_factory=list)
    """Some of these lines by number, at most 100."""
    labels: int = 0
    """Labels written by this job so far."""
    errors: dict[str, str] = Field(default_factory=dict)
    """Document id -> reason, for documents that failed; about 1,000 of them where an upload has more."""


class Verdict(StrEnum):
    """What became of a document that was handed in. `unchanged`: it has its labels, nothing is to do."""

    ACCEPTED = "accepted"
    UNCHANGED = "unchanged"


class AcceptedJob(Job):
    """The answer to a request with documents: the job as it was accepted, however often it is asked."""

    verdicts: dict[Identifier, Verdict] = Field(default_factory=dict)
    """Document id -> what became of it. Of an upload only the counts are given, and `refusals`."""


class UploadedDocument(Document):
    """One line of an upload."""

    synthetic_queries: WrittenQueries | None = None
    """Written before by the generator that the upload names."""

    def without_queries(self) -> Document:
        """Return the document alone."""
        return Document.model_construct(
            id=self.id, title=self.title, text=self.text, metadata=self.metadata
        )


class Provenance(Contract):
    """Why a label exists."""

    synthetic_query: str
    rank: int
    """The train query's place among the synthetic query's neighbours, from 1."""
    agreement: int = 1
    """Trusted synthetic queries of the document that reach the train query."""
    probability: float | None = None
    """That the label is right, by the mapping's calibration; None without one."""
    generator: str
    encoder: str
    min_similarity: float
    """tau, as a cosine."""
    policy: str = ""
    """Names all that decided which labels the document has; empty if unknown."""
    index_version: int = 0
    """Of the train queries it was mapped to; 0 if unknown."""
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
    probability: float | None = None
    """That it is right; None without a calibration."""


class LabelledDocument(Contract):
    """A document that has a train query as a label."""

    document_id: Identifier
    similarity: float


class QueryDocuments(Contract):
    """The documents that have a train query as a label, most similar first."""

    query_id: Identifier
    total: int
    """How many there are. Past 10,000, `documents` are the best of a random 10,000."""
    documents: list[LabelledDocument]


class RemovedDocuments(Contract):
    """What became of a request to remove documents."""

    removed: int
    unknown: list[Identifier]
    """Asked for, and not there."""


class DeadLetter(Contract):
    """A document that was given up, and why. It is kept as accepted last, to be replayed or purged."""

    document_id: Identifier
    job_id: Identifier
    reason: str
    tries: int
    """Of the document alone."""
    failed_at: datetime


class DeadLetters(Contract):
    """Dead letters by document id."""

    total: int
    dead_letters: list[DeadLetter]
    next_cursor: str | None = None
    """Asks for those that follow; None if none do."""


class DeadLettersRequest(Contract):
    """Which dead letters to replay."""

    document_ids: list[Identifier] | None = Field(
        default=None, min_length=1, max_length=MAX_DOCUMENTS_PER_REQUEST
    )
    """None: all, 1,000 at a time."""


class ReplayedDeadLetters(Contract):
    """What became of a replay."""

    job: Job | None
    """It has the documents now; None if there were none."""
    left: int
    """Dead letters that are still there."""


class PurgedDeadLetters(Contract):
    """What became of a purge."""

    purged: int


class Counts(Contract):
    """What the suite has done so far. A document posted twice is one document, accepted twice."""

    documents: int = 0
    labels: int
    """Current ones: each document's last revision."""
    accepted: int
    """Documents of all jobs: those that wait, are done, failed, and were cancelled."""
    waiting: int
    done: int
    failed: int
    cancelled: int = 0
    dead_letters: int = 0
    """Documents that were given up, and neither replayed, purged, removed nor accepted again."""
    jobs: dict[JobState, int] = Field(default_factory=dict)
    """How many jobs are in each state."""


class Jobs(Contract):
    """Jobs, newest first."""

    jobs: list[Job]
    next_cursor: str | None = None
    """Asks for those before; None if these are the last."""
