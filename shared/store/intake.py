"""What is handed in, and how a store takes it: requests in one step, uploads chunk by chunk.

An upload is no job until it is sealed: its documents are staged, and neither seen nor worked on. Sealing is
one step, whatever the upload's length; its documents are then taken in bit by bit. Who holds an upload has it
for a while; then another may go on with it, and in the end it is dropped whole.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from shared.contracts.augmentation import Job, Refusal
from shared.contracts.document import Document
from shared.contracts.synthetic_queries import WrittenQueries

MAX_REFUSALS = 100
"""Refused lines of an upload that are kept with their reason."""
MAX_ERRORS = 1_000
"""Of a job that are shown with it; a request has no more documents, an upload may."""
OTHER_BODY = "the Idempotency-Key was used before with another body"
UNDER_WAY = "an upload with this Idempotency-Key is under way"
LOST = "the upload is in other hands by now"
CANNOT_CANCEL = "a remap cannot be cancelled: labels would stay behind the train queries"


@dataclass(frozen=True)
class Incoming:
    """A document, with what a generator wrote for it before."""

    document: Document
    generator: str = ""
    written: WrittenQueries | None = None


@dataclass(frozen=True)
class Key:
    """What tells that a request was made before: the caller's key, and the digest of the body it came with."""

    name: str
    digest: str
    seconds: int
    """How long both are remembered."""


@dataclass(frozen=True)
class Acceptance:
    """What became of a request."""

    job: Job
    """As it was accepted."""
    unchanged: frozenset[int]
    """Places of the documents, from 0, that have their labels already."""
    is_replay: bool = False
    """It was accepted before; nothing was done."""


@dataclass(frozen=True)
class Hold:
    """Whose hands an upload is in."""

    owner: str
    seconds: float
    """After its last step another may go on with it."""
    keep_seconds: float
    """After its last step it may be dropped; one without a key at the end of the hold."""


@dataclass(frozen=True)
class Position:
    """How far an upload is, at the end of a line."""

    bytes: int = 0
    lines: int = 0
    digest: str = ""
    """Of all bytes so far; empty before the first."""


@dataclass(frozen=True)
class Upload:
    """An upload that takes chunks from here on."""

    job_id: str
    at: Position


@dataclass(frozen=True)
class SealedUpload:
    """An upload, or a request, that was accepted under the key before."""

    job_id: str
    digest: str


@dataclass(frozen=True)
class Chunk:
    """Some lines of an upload."""

    since: int
    """Bytes before it."""
    to: Position
    documents: Sequence[tuple[int, Incoming]]
    """Line number, document."""
    refused: int = 0
    refusals: Sequence[Refusal] = ()
    """Of the refused lines, those to be listed."""


class Intake(Protocol):
    """Takes documents in."""

    def accept(self, documents: Sequence[Document]) -> Job:
        """Keep documents (distinct ids) and the record of a new job, all or nothing."""

    def accept_request(self, incoming: Sequence[Incoming], key: Key | None) -> Acceptance:
        """Keep documents (distinct ids), a new job and the key in one step, or say what the key stands for.

        Raises:
            InFlight: an upload with the key is under way.
            InvalidInput: the key came with another body.
        """

    def open_upload(self, key: str | None, hold: Hold) -> Upload | SealedUpload:
        """Begin an upload, or go on with the one under this key.

        Raises:
            InFlight: somebody else holds it.
        """

    def stage(self, job_id: str, hold: Hold, chunk: Chunk) -> None:
        """Keep a chunk, and hold the upload for longer.

        A document whose id came before is refused; one that is unchanged is counted and not kept.

        Raises:
            Conflict: it is no longer the owner's, or does not go on where the chunk does.
        """

    def seal(self, job_id: str, hold: Hold, to: Position, *, remember_seconds: int) -> bool:
        """Make an upload a job that runs, in one step; False, and it is dropped, without a document.

        Raises:
            Conflict: it is no longer the owner's, or is elsewhere.
        """

    def accepted(self, job_id: str) -> Job:
        """Return a job as it was when it was accepted; `NotFound` without one."""

    def sealed_uploads(self) -> list[str]:
        """Return the jobs with documents that are still staged, the oldest first."""

    def take_in(self, job_id: str, limit: int) -> tuple[Sequence[str], bool]:
        """Take in the next staged documents of a job; return those that wait, and whether these were the last."""

    def release_upload(self, job_id: str, hold: Hold) -> None:
        """Let another go on with an upload; one without a key is dropped."""

    def drop_upload(self, job_id: str, hold: Hold) -> None:
        """Forget an upload and its key, whole."""

    def drop_expired_uploads(self, limit: int) -> int:
        """Drop uploads that nobody went on with; return how many."""

    def note_generator(self, generator: str) -> None:
        """Remember which generator serves: documents with its labels are unchanged."""
