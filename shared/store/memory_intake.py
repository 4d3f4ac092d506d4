"""Taking documents in, in memory."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import islice

from shared.contracts.augmentation import FINAL_STATES, DeadLetter, Job, JobKind, JobState, Refusal
from shared.contracts.document import Document
from shared.contracts.reviews import Review
from shared.contracts.synthetic_queries import WrittenQueries
from shared.errors import Conflict, InFlight, InvalidInput
from shared.store import records
from shared.store.intake import (
    CANNOT_CANCEL,
    LOST,
    MAX_REFUSALS,
    OTHER_BODY,
    UNDER_WAY,
    Acceptance,
    Chunk,
    Hold,
    Incoming,
    Key,
    Position,
    SealedUpload,
    Upload,
)
from shared.store.memory_work import NO_LEASE
from shared.store.protocols import Revision


@dataclass
class Kept:
    """A document and what belongs to it."""

    document: Document
    synthetic_queries: dict[str, WrittenQueries] = field(default_factory=dict)
    revision: Revision | None = None
    created_at: datetime = NO_LEASE
    reviews: dict[str, Review] = field(default_factory=dict)


@dataclass
class Remembered:
    """What an idempotency key stands for; without a digest an upload that is under way."""

    job_id: str
    digest: str | None = None
    until: datetime | None = None


@dataclass
class _Upload:
    """An upload that is not sealed."""

    key: str | None
    owner: str = ""
    held_until: datetime = NO_LEASE
    drop_at: datetime = NO_LEASE
    at: Position = field(default_factory=Position)
    seen: set[str] = field(default_factory=set)
    staged: dict[str, Incoming] = field(default_factory=dict)
    unchanged: int = 0
    refused: int = 0
    refusals: list[Refusal] = field(default_factory=list)

    def list(self, refusal: Refusal) -> None:
        if len(self.refusals) < MAX_REFUSALS:
            self.refusals.append(refusal)


class MemoryIntake:
    """The part of a `MemoryStore` that is `Intake` and cancels jobs."""

    _now: Callable[[], datetime]
    _lock: threading.RLock
    _documents: dict[str, Kept]
    _jobs: dict[str, Job]
    _waiting: dict[tuple[str, str], datetime]
    _deaths: dict[str, DeadLetter]

    def __init__(self) -> None:
        self._remembered: dict[str, Remembered] = {}
        self._uploads: dict[str, _Upload] = {}
        self._staged: dict[str, dict[str, Incoming]] = {}
        self._gone: dict[str, set[str]] = {}
        self._places: dict[str, frozenset[int]] = {}
        self._generator: str | None = None

    def _judge(self, job_id: str) -> None:
        raise NotImplementedError

    def job(self, job_id: str) -> Job:
        """Return a job's record."""
        raise NotImplementedError

    def accept(self, documents: Sequence[Document]) -> Job:
        """Keep documents and the record of a new job."""
        return self.accept_request([Incoming(each) for each in documents], None).job

    def accept_request(self, incoming: Sequence[Incoming], key: Key | None) -> Acceptance:
        """Keep documents, a new job and the key in one step, or say what the key stands for."""
        with self._lock:
            known = self._recall(key.name) if key else None
            if key and known:
                if known.digest is None:
                    raise InFlight(UNDER_WAY)
                if known.digest != key.digest:
                    raise InvalidInput(OTHER_BODY)
                places = self._places.get(known.job_id, frozenset())
                return Acceptance(self.accepted(known.job_id), places, is_replay=True)
            job_id = uuid.uuid4().hex
            unchanged = [self._take(job_id, each, NO_LEASE) for each in incoming]
            self._places[job_id] = frozenset(at for at, each in enumerate(unchanged) if each)
            self._begin(job_id, documents=len(incoming), unchanged=sum(unchanged))
            if key:
                self._remember(key.name, job_id, key.digest, key.seconds)
            return Acceptance(self.accepted(job_id), self._places[job_id])

    def open_upload(self, key: str | None, hold: Hold) -> Upload | SealedUpload:
        """Begin an upload, or go on with the one under this key."""
        with self._lock:
            known = self._recall(key) if key else None
            if known and known.digest is not None:
                return SealedUpload(known.job_id, known.digest)
            job_id = known.job_id if known else uuid.uuid4().hex
            upload = self._uploads.setdefault(job_id, _Upload(key))
            left = (upload.held_until - self._now()).total_seconds()
            if upload.owner not in {"", hold.owner} and left > 0:
                raise InFlight(UNDER_WAY, retry_after_seconds=1 + int(left))
            if key:
                self._remembered[key] = Remembered(job_id)
            self._hold(upload, hold)
            return Upload(job_id, upload.at)

    def stage(self, job_id: str, hold: Hold, chunk: Chunk) -> None:
        """Keep a chunk, and hold the upload for longer."""
        with self._lock:
            upload = self._held(job_id, hold)
            if upload.at.bytes != chunk.since:
                if upload.at.bytes != chunk.to.bytes:
                    raise Conflict(LOST)
                return
            upload.refused += chunk.refused
            for refusal in chunk.refusals:
                upload.list(refusal)
            for line, each in chunk.documents:
                document = each.document
                if document.id in upload.seen:
                    upload.refused += 1
                    upload.list(Refusal(line=line, id=document.id, reason="the id came before"))
                elif self._is_unchanged(document):
                    upload.unchanged += 1
                else:
                    upload.staged[document.id] = each
                upload.seen.add(document.id)
            upload.at = chunk.to

    def seal(self, job_id: str, hold: Hold, to: Position, *, remember_seconds: int) -> bool:
        """Make an upload a job that runs, in one step; False, and it is dropped, without a document."""
        with self._lock:
            if job_id in self._jobs:
                return True
            upload = self._held(job_id, hold)
            if upload.at.bytes != to.bytes:
                raise Conflict(LOST)
            if not upload.staged and not upload.unchanged:
                self._drop(job_id)
                return False
            documents = len(upload.staged) + upload.unchanged
            self._begin(job_id, documents=documents, unchanged=upload.unchanged)
            self._jobs[job_id] = self._jobs[job_id].model_copy(
                update={
                    "refused": upload.refused,
                    "refusals": sorted(upload.refusals, key=lambda each: each.line),
                }
            )
            if upload.staged:
                self._staged[job_id] = upload.staged
            if upload.key:
                self._remember(upload.key, job_id, to.digest, remember_seconds)
            del self._uploads[job_id]
            return True

    def accepted(self, job_id: str) -> Job:
        """Return a job as it was when it was accepted."""
        return records.as_accepted(self.job(job_id))

    def sealed_uploads(self) -> list[str]:
        """Return the jobs with documents that are still staged, the oldest first."""
        with self._lock:
            return list(self._staged)

    def take_in(self, job_id: str, limit: int) -> tuple[Sequence[str], bool]:
        """Take in the next staged documents of a job."""
        with self._lock:
            staged = self._staged.get(job_id, {})
            page = list(islice(staged, limit))
            gone = self._gone.get(job_id, set())
            waiting = [
                each
                for each in page
                if each not in gone and not self._take(job_id, staged[each], self._now())
            ]
            for each in page:
                del staged[each]
            if unchanged := len(page) - len(waiting):
                job = self._jobs[job_id]
                self._jobs[job_id] = job.model_copy(update={"done": job.done + unchanged})
                self._judge(job_id)
            if not staged:
                self._staged.pop(job_id, None)
                self._gone.pop(job_id, None)
            return waiting, not staged

    def release_upload(self, job_id: str, hold: Hold) -> None:
        """Let another go on with an upload; one without a key is dropped."""
        with self._lock:
            upload = self._uploads.get(job_id)
            if upload is None or upload.owner != hold.owner:
                return
            if upload.key is None:
                self._drop(job_id)
            else:
                upload.held_until = NO_LEASE

    def drop_upload(self, job_id: str, hold: Hold) -> None:
        """Forget an upload and its key, whole."""
        with self._lock:
            if job_id in self._uploads and self._uploads[job_id].owner == hold.owner:
                self._drop(job_id)

    def drop_expired_uploads(self, limit: int) -> int:
        """Drop uploads that nobody went on with; return how many."""
        with self._lock:
            now = self._now()
            over = sorted(
                (each.drop_at, job_id)
                for job_id, each in self._uploads.items()
                if each.drop_at <= now
            )
            for _, job_id in over[:limit]:
                self._drop(job_id)
            return len(over[:limit])

    def note_generator(self, generator: str) -> None:
        """Remember which generator serves."""
        with self._lock:
            self._generator = generator

    def jobs(self, limit: int, cursor: str | None = None) -> tuple[list[Job], str | None]:
        """Return jobs, newest first, after a cursor, and the cursor of those that follow."""
        with self._lock:
            found = list(reversed(self._jobs.values()))
        if cursor:
            job_id, microseconds = records.read_cursor(cursor)
            ids = [job.id for job in found]
            newer = sum(_microseconds(job) >= microseconds for job in found)
            found = found[ids.index(job_id) + 1 if job_id in ids else newer :]
        page = found[:limit]
        if len(found) <= limit:
            return page, None
        return page, records.cursor_of(page[-1].id, _microseconds(page[-1]))

    def cancel(self, job_id: str) -> Job:
        """Have nothing more of a job worked on; one that is over stays as it is."""
        with self._lock:
            job = self.job(job_id)
            if job.kind is JobKind.REMAP:
                raise Conflict(CANNOT_CANCEL)
            if job.state not in FINAL_STATES:
                self._staged.pop(job_id, None)
                self._gone.pop(job_id, None)
                self._jobs[job_id] = job.model_copy(
                    update={
                        "state": JobState.CANCELLED,
                        "cancelled": job.documents - job.done - job.failed,
                        "finished_at": self._now(),
                    }
                )
            return self._jobs[job_id]

    def _is_unchanged(self, document: Document) -> bool:
        kept = self._documents.get(document.id)
        if kept is None or kept.revision is None:
            return False
        return (
            kept.document.content_hash == kept.revision.content_hash == document.content_hash
            and kept.revision.generator == self._generator
        )

    def _take(self, job_id: str, incoming: Incoming, lease: datetime) -> bool:
        """Keep a document and let it wait; True, and nothing is done, if it is unchanged."""
        document = incoming.document
        if self._is_unchanged(document):
            return True
        kept = self._documents.setdefault(document.id, Kept(document))
        if kept.document.content_hash != document.content_hash:
            kept.synthetic_queries = {}
        kept.document = document
        self._deaths.pop(document.id, None)
        if incoming.written is not None:
            kept.synthetic_queries.setdefault(incoming.generator, incoming.written.bare())
        self._waiting[job_id, document.id] = lease
        return False

    def _begin(self, job_id: str, *, documents: int, unchanged: int) -> None:
        self._jobs[job_id] = Job(
            id=job_id,
            state=JobState.ACCEPTED,
            accepted_at=self._now(),
            documents=documents,
            unchanged=unchanged,
            done=unchanged,
        )
        self._judge(job_id)

    def _hold(self, upload: _Upload, hold: Hold) -> None:
        upload.owner = hold.owner
        upload.held_until = self._now() + timedelta(seconds=hold.seconds)
        keep = timedelta(seconds=hold.keep_seconds)
        upload.drop_at = self._now() + keep if upload.key else upload.held_until

    def _held(self, job_id: str, hold: Hold) -> _Upload:
        """Return an upload in its owner's hands, for longer."""
        upload = self._uploads.get(job_id)
        if upload is None or upload.owner != hold.owner:
            raise Conflict(LOST)
        self._hold(upload, hold)
        return upload

    def _drop(self, job_id: str) -> None:
        upload = self._uploads.pop(job_id)
        if upload.key:
            del self._remembered[upload.key]

    def _recall(self, key: str) -> Remembered | None:
        known = self._remembered.get(key)
        if known and known.until is not None and known.until <= self._now():
            return None
        return known

    def _remember(self, key: str, job_id: str, digest: str, seconds: int) -> None:
        until = self._now() + timedelta(seconds=seconds)
        self._remembered[key] = Remembered(job_id, digest, until)


def _microseconds(job: Job) -> int:
    return round(job.accepted_at.timestamp() * 1e6)
