"""A store as rows: what `skim store export` writes and `skim store import` reads, one JSON object a line.

The order matters. Jobs come first, then what waits, documents last: what was accepted before the first row is then in
the export, whatever happens meanwhile. Not in it are uploads that are not sealed (their client sends them again), leases
(what waits is in nobody's hands), and what cancelled jobs left.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Literal

from pydantic import Field, TypeAdapter, ValidationError

from shared.contracts.augmentation import JobKind, JobState, Refusal
from shared.contracts.base import Contract
from shared.contracts.document import Document
from shared.contracts.mapping import MappedQuery
from shared.contracts.reviews import ReviewVerdict
from shared.contracts.synthetic_queries import WrittenQueries
from shared.errors import Damaged

FORMAT = 1


class FollowedRow(Contract):
    """How far labels have followed the mapping service."""

    version: int
    policy: str
    job_id: str | None = None
    is_back: bool = False


class HeaderRow(Contract):
    """The first line."""

    kind: Literal["store"] = "store"
    format: int = FORMAT
    layout: str
    """Of the keys of the store it was read from."""
    id: str
    """Of this export."""
    begun_at: datetime
    totals: Mapping[str, int]
    """Running sums as they were then: other ones at the end tell that the store was worked on."""
    generator: str = ""
    """That was seen to serve last."""
    followed: FollowedRow | None = None


class JobRow(Contract):
    """The record of a job; its errors follow."""

    kind: Literal["job"] = "job"
    id: str
    does: JobKind
    state: JobState
    accepted_at: datetime
    finished_at: datetime | None = None
    documents: int
    unchanged: int = 0
    done: int = 0
    failed: int = 0
    labels: int = 0
    refused: int = 0
    refusals: list[Refusal] = Field(default_factory=list)
    unchanged_places: list[int] = Field(default_factory=list)
    """Places, from 0, of the documents of a request that were unchanged."""
    among: list[str] = Field(default_factory=list)
    """The train queries a remap is about."""
    after: str | None = None
    """How far a remap is that still accepts documents."""


class ErrorsRow(Contract):
    """Why documents of a job failed; some of them, other lines may have more."""

    kind: Literal["errors"] = "errors"
    job_id: str
    errors: dict[str, str]


class WaitingRow(Contract):
    """A document that a job still has to see to."""

    kind: Literal["waiting"] = "waiting"
    job_id: str
    document_id: str
    tries: int | None = None
    """Of the document alone; None if it was never begun."""
    reason: str = ""
    """Why its last try failed."""


class StagedRow(Contract):
    """A document of a sealed upload that is not taken in yet; each job's come last to first."""

    kind: Literal["staged"] = "staged"
    job_id: str
    document: Document
    generator: str = ""
    written: WrittenQueries | None = None


class RequestRow(Contract):
    """An idempotency key, and what it stands for."""

    kind: Literal["request"] = "request"
    key: str
    """Hash of the caller's."""
    job_id: str
    digest: str
    until: datetime


class RemovedRow(Contract):
    """A train query that a version of the mapping is without."""

    kind: Literal["removed"] = "removed"
    query_id: str
    version: int


class RevisionRow(Contract):
    """A document's labels and what made them."""

    name: str
    content_hash: str
    generator: str
    written: WrittenQueries
    encoder: str
    min_similarity: float
    policy: str = ""
    index_version: int = 0
    created_at: datetime
    labels: list[MappedQuery]


class WrittenRow(Contract):
    """What a generator wrote for the current content of a document."""

    generator: str
    written: WrittenQueries


class ReviewRow(Contract):
    """A verdict of a person on a document and a train query."""

    query_id: str
    verdict: ReviewVerdict
    reviewed_at: datetime


class DeathRow(Contract):
    """Why a document is in the dead letters."""

    job_id: str
    reason: str
    tries: int
    failed_at: datetime


class DocumentRow(Contract):
    """A document with all that belongs to it."""

    kind: Literal["document"] = "document"
    document: Document
    written: list[WrittenRow] = Field(default_factory=list)
    revision: RevisionRow | None = None
    reviews: list[ReviewRow] = Field(default_factory=list)
    death: DeathRow | None = None
    is_behind: bool = False
    """Its labels may not be of the state of the mapping that is followed."""

    @property
    def is_settled(self) -> bool:
        """Whether it has labels of its content, or was given up: nobody has to work on it."""
        is_labelled = (
            self.revision is not None and self.revision.content_hash == self.document.content_hash
        )
        return is_labelled or self.death is not None


class EndRow(Contract):
    """The last line: a file without it is not whole."""

    kind: Literal["end"] = "end"
    lines: int
    """Before it."""
    sha256: str
    """Of the bytes before it."""
    has_moved: bool
    """Whether documents were accepted or finished meanwhile. Then those that nobody has to work on and that have no
    labels go into a job of their own: of some it cannot be told whether they were under way."""


Row = JobRow | ErrorsRow | WaitingRow | StagedRow | RequestRow | RemovedRow | DocumentRow
AnyRow = HeaderRow | Row | EndRow
_ROW: TypeAdapter[AnyRow] = TypeAdapter(Annotated[AnyRow, Field(discriminator="kind")])


def row_of(line: bytes, where: str) -> AnyRow:
    """Return a line as what it says.

    Raises:
        Damaged: it is no row of this version; the message says where and never what.
    """
    try:
        return _ROW.validate_json(line)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        at = ".".join(map(str, first["loc"])) or "the line"
        said = "no kind of row" if first["type"] == "union_tag_invalid" else first["msg"]
        raise Damaged(f"{where}: {at}: {said}") from None


def line_of(row: AnyRow) -> bytes:
    """Return a row as a line."""
    return row.model_dump_json(exclude_defaults=False, exclude_none=True).encode() + b"\n"
