"""What a store does for its callers, and what it is given to keep."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import orjson

from shared.contracts.augmentation import (
    Counts,
    DeadLetters,
    DocumentLabels,
    ExportedLabel,
    Job,
    QueryDocuments,
)
from shared.contracts.document import Document
from shared.contracts.mapping import MappedQuery
from shared.contracts.synthetic_queries import SyntheticQueries, WrittenQueries
from shared.errors import InvalidInput
from shared.store.intake import Intake

MAX_AMONG = 1_000
"""Train queries of one remap."""
MAX_TRIES = 3
"""Of a document alone."""
UNKNOWN_DEATH = "the worker was killed, or ran out of memory, while it worked on the document"
MAX_SEEN_OF_A_QUERY = 10_000
"""Documents of a train query that are looked at to find its most similar."""


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
    """Of the train queries they were mapped to, in microseconds, below 2^53; 0 if unknown. A revision
    replaces none of a newer one."""

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
        made_by: list[str | float] = [
            self.content_hash,
            self.generator,
            self.encoder,
            self.min_similarity,
            self.neighbours,
            self.trust,
        ]
        if self.policy or self.index_version:  # else named as before there were any
            made_by += [self.policy, self.index_version]
        return hashlib.sha256(orjson.dumps(made_by)).hexdigest()[:16]


@dataclass(frozen=True)
class Remap:
    """What a job that maps anew is about: labels to these train queries, or all labels."""

    among: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if len(self.among) > MAX_AMONG:
            raise InvalidInput(
                f"a remap among {len(self.among)} train queries, expected at most {MAX_AMONG}"
            )


@dataclass(frozen=True)
class Page:
    """Documents that a remap accepted in one step."""

    document_ids: Sequence[str]
    is_last: bool


@dataclass(frozen=True)
class Stored:
    """A labelled document with what its labels' generator wrote for its current content."""

    document: Document
    generator: str
    written: WrittenQueries


@dataclass(frozen=True)
class Followed:
    """The state of the mapping service that labels have been brought to."""

    version: int
    policy: str
    job_id: str | None = None
    """The remap that was begun for it."""


@dataclass(frozen=True)
class QueueState:
    """How the documents that wait fare. Ages are of those next in line and last in line, 500 each."""

    oldest_seconds: float = 0.0
    """Since the oldest of their jobs was accepted; 0 if nothing waits."""
    leased: int = 0
    """Documents on the queue or in a worker's hands."""
    overdue_seconds: float = 0.0
    """Since the lease ran out that did so first: its document is in nobody's hands; 0 if there is none."""


@dataclass(frozen=True)
class Taken:
    """What of a batch is in a worker's hands, and what of it must be tried alone."""

    document_ids: Sequence[str]
    apart: Sequence[str]


class Work(Protocol):
    """Who has which documents in hands, and how often they were tried.

    A try counts from before it begins, so that one whose worker was killed counts. Only a try of a document
    alone counts against it; what was in a batch that died is tried alone from then on, and with `MAX_TRIES`
    tries it has failed and is a dead letter. An owner is whoever works, by the id of its message.
    """

    def take(self, job_id: str, document_ids: Sequence[str], owner: str, seconds: float) -> Taken:
        """Take in hands what waits and is in no other's, and count the try.

        What was removed is done; what had its last try has failed.
        """

    def renew(self, job_id: str, document_ids: Sequence[str], owner: str, seconds: float) -> None:
        """Keep what is still the owner's in its hands for that long from now."""

    def hand_back(
        self, job_id: str, document_ids: Sequence[str], owner: str, seconds: float
    ) -> None:
        """Let go of what is still the owner's; its try does not count. The sweeper waits that long."""

    def blame(
        self, job_id: str, document_ids: Sequence[str], owner: str, seconds: float, reason: str
    ) -> Sequence[str]:
        """Let go of what is still the owner's, whose try failed; return what may be tried again.

        The sweeper waits that long. A document whose last try it was has failed.
        """

    def claim(self, limit: int, seconds: float, longest_seconds: float) -> dict[str, list[str]]:
        """Return job id -> waiting documents in nobody's hands, and lease them so that no other claims them.

        A lease that ends later than the longest there is counts as none: the clock was put back.
        """

    def dead_letters(self, limit: int, after: str = "") -> DeadLetters:
        """Return the dead letters after a document id, in order."""

    def replay(self, document_ids: Sequence[str], limit: int) -> tuple[Job, Sequence[str]] | None:
        """Accept dead documents anew in a job, all (up to a limit) if none is named; None without any."""

    def purge(self, document_ids: Sequence[str]) -> int:
        """Forget dead letters, all if none is named; return how many. Their documents stay."""


class Store(Intake, Work, Protocol):
    """Keeps documents, jobs and labels. Every call is one step, and safe to repeat.

    Each call raises `Unavailable` if the store does not answer, and `Conflict` if what it holds was
    written by another version of SKIM.
    """

    def check(self) -> None:
        """Return if the store answers."""

    def lease(self, job_id: str, document_ids: Sequence[str], seconds: float) -> Sequence[str]:
        """Have the sweeper leave documents alone for a while; return those that still wait.

        What was removed is not among them: it is done, with no labels. Nor is anything of a cancelled job. What
        is in a worker's hands stays there for as long as it was taken.
        """

    def abandoned(self, limit: int) -> dict[str, list[str]]:
        """Return job id -> waiting documents in nobody's hands, at most `limit` documents."""

    def finish_document(
        self, job_id: str, document_id: str, *, labels: int = 0, error: str | None = None
    ) -> None:
        """Count a waiting document as done, or with `error` as failed; later calls change nothing.

        What failed is a dead letter, until it is accepted again, replayed, purged or removed.
        """

    def job(self, job_id: str) -> Job:
        """Return a job's record; `NotFound` without one."""

    def jobs(self, limit: int, cursor: str | None = None) -> tuple[list[Job], str | None]:
        """Return jobs, newest first, after a cursor; and the cursor of those that follow, None at the end.

        `InvalidInput` if the cursor is none of ours.
        """

    def cancel(self, job_id: str) -> Job:
        """Have nothing more of a job worked on, in one step; one that is over stays as it is.

        What a worker has in hand is still finished, and then counted as done. `NotFound` without the
        job, `Conflict` for a remap.
        """

    def queue(self) -> QueueState:
        """Return how what waits fares."""

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

        Written again, a revision keeps each train query's best similarity. Train queries that were
        removed at a later version than the revision's are left out. A revision that lacks some of
        them, or is not of the version and policy followed, is written and its document noted as behind.

        False, and nothing is written, if the document's content is no longer the revision's, or its
        labels are of the same content and a later version.
        """

    def labels(self, document_id: str) -> DocumentLabels:
        """Return a document's labels with their provenance; `NotFound` without the document."""

    def iterate_labels(self) -> Iterator[ExportedLabel]:
        """Yield all current labels by document id, most similar first, in flat memory."""

    def iterate_synthetic_queries(self) -> Iterator[SyntheticQueries]:
        """Yield what the current labels were made from, by document id, in flat memory."""

    def documents_of(self, query_id: str) -> list[str]:
        """Return the ids of the documents that have a train query as a label, in order."""

    def labelled_with(self, query_id: str, limit: int) -> QueryDocuments:
        """Return the documents most similar to a train query among those that have it as a label."""

    def remove_documents(self, document_ids: Sequence[str]) -> list[str]:
        """Forget documents and all that belongs to them, each in one step; return those there were.

        Jobs that wait for one count it as done, with no labels, once a worker comes to it.
        """

    def remove_labels_of(self, query_ids: Sequence[str], version: int) -> int:
        """Take train queries that version is without from every older revision; return how many labels.

        Each document is one step. Its labels are noted as behind: what the train query displaced is
        missing. Later writes of older revisions leave these train queries out.
        """

    def stored(self, document_ids: Sequence[str]) -> dict[str, Stored]:
        """Return those of the documents that can be mapped anew without a generator."""

    def begin_remap(self, remap: Remap) -> Job:
        """Begin a job that maps every labelled document anew; it accepts them page by page."""

    def remap_of(self, job_id: str) -> Remap | None:
        """Return what a remap is about, None for any other job."""

    def opening(self) -> list[str]:
        """Return the ids of the remaps that still accept documents, the oldest first."""

    def accept_page(self, job_id: str, limit: int) -> Page:
        """Let a remap accept its next labelled documents: of the next `limit` documents by id."""

    def followed(self) -> Followed | None:
        """Return how far labels have followed the mapping service, None before the first time."""

    def follow(
        self, since: Followed | None, version: int, policy: str, remap: Remap | None
    ) -> bool:
        """Move on from `since` and begin the remap that this takes, in one step.

        No remap is begun while there are no documents. An earlier version than `since` is an index put
        back: what is known of the versions after it no longer counts. False, and nothing is done, if
        `since` is no longer what is followed.
        """

    def remap_behind(self, limit: int) -> tuple[str, list[str]] | None:
        """Begin a remap of documents whose labels are not of the version and policy followed.

        Looks at no more than `limit` that were noted; returns the job with its documents, None
        where all were up to date.
        """

    def counts(self) -> Counts:
        """Return how much there is of everything."""
