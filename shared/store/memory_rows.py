"""The part of the store in memory that is read as rows, and written from them."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import singledispatchmethod

from shared.contracts.augmentation import FINAL_STATES, Counts, DeadLetter, Job, JobKind, JobState
from shared.contracts.reviews import Review
from shared.store import keys
from shared.store.intake import Incoming
from shared.store.memory_intake import Kept, Remembered
from shared.store.memory_work import NO_LEASE, Try
from shared.store.portable import half_of_another, not_empty
from shared.store.protocols import Followed, Remap, Revision
from shared.store.rows import (
    DeathRow,
    DocumentRow,
    ErrorsRow,
    FollowedRow,
    HeaderRow,
    JobRow,
    RemovedRow,
    RequestRow,
    ReviewRow,
    RevisionRow,
    Row,
    StagedRow,
    WaitingRow,
    WrittenRow,
)

_OF_A_JOB = {"unchanged", "done", "failed", "labels", "refused", "refusals", "documents"}
_OF_A_REVISION = {
    "content_hash",
    "generator",
    "written",
    "encoder",
    "min_similarity",
    "policy",
    "index_version",
    "labels",
}


@dataclass(frozen=True)
class _Imported(Revision):
    """A revision that says its name, since a row has not all that names are made of."""

    known_as: str = ""

    @property
    def name(self) -> str:
        """Return the name it had."""
        return self.known_as


class MemoryRows:
    """The part of a `MemoryStore` that is `Portable`."""

    _now: Callable[[], datetime]
    _lock: threading.RLock
    _documents: dict[str, Kept]
    _jobs: dict[str, Job]
    _waiting: dict[tuple[str, str], datetime]
    _tries: dict[tuple[str, str], Try]
    _deaths: dict[str, DeadLetter]
    _remembered: dict[str, Remembered]
    _staged: dict[str, dict[str, Incoming]]
    _gone: dict[str, set[str]]
    _places: dict[str, frozenset[int]]
    _remaps: dict[str, Remap]
    _opening: dict[str, str]
    _removed: dict[str, int]
    _behind: set[str]
    _followed: Followed | None
    _is_back: bool
    _generator: str | None
    _import: tuple[str, int] | None = None

    def counts(self) -> Counts:
        """Return how much there is of everything."""
        raise NotImplementedError

    def _judge(self, job_id: str) -> None:
        raise NotImplementedError

    def header(self) -> HeaderRow:
        """Return the first row of an export that begins now."""
        followed = self._followed
        return HeaderRow(
            layout=keys.LAYOUT_VERSION,
            id=uuid.uuid4().hex,
            begun_at=self._now(),
            totals=self.totals(),
            generator=self._generator or "",
            followed=FollowedRow(
                version=followed.version,
                policy=followed.policy,
                job_id=followed.job_id,
                is_back=self._is_back,
            )
            if followed
            else None,
        )

    def totals(self) -> dict[str, int]:
        """Return the running sums."""
        counts = self.counts().model_dump(exclude={"jobs", "waiting", "dead_letters"})
        return {name: int(value) for name, value in counts.items()}

    def iterate_rows(self, after: str = "") -> Iterator[Row]:
        """Yield everything as it is now, documents last."""
        with self._lock:
            rows = list(self._documents_as_rows(after))
            others = [] if after else list(self._others_as_rows())
        yield from others
        yield from rows

    def _others_as_rows(self) -> Iterator[Row]:
        for job in self._jobs.values():
            yield self._job_row(job)
            if job.errors:
                yield ErrorsRow(job_id=job.id, errors=job.errors)
        for entry in self._waiting:
            if self._jobs[entry[0]].state is not JobState.CANCELLED:
                tried = self._tries.get(entry)
                yield WaitingRow(
                    job_id=entry[0],
                    document_id=entry[1],
                    tries=tried.alone if tried else None,
                    reason=tried.reason if tried else "",
                )
        yield from self._staged_as_rows()
        for key, known in self._remembered.items():
            if known.digest is not None and known.until is not None:
                yield RequestRow(
                    key=key, job_id=known.job_id, digest=known.digest, until=known.until
                )
        for query_id, version in self._removed.items():
            yield RemovedRow(query_id=query_id, version=version)

    def _staged_as_rows(self) -> Iterator[StagedRow]:
        for job_id, staged in self._staged.items():
            gone = self._gone.get(job_id, set())
            for each in reversed(staged.values()):
                if each.document.id in gone:
                    continue
                yield StagedRow(
                    job_id=job_id,
                    document=each.document,
                    generator=each.generator,
                    written=each.written and each.written.bare(),
                )

    def _job_row(self, job: Job) -> JobRow:
        remap = self._remaps.get(job.id)
        return JobRow(
            id=job.id,
            does=job.kind,
            state=job.state,
            accepted_at=job.accepted_at,
            finished_at=job.finished_at,
            unchanged_places=sorted(self._places.get(job.id, ())),
            among=list(remap.among) if remap else [],
            after=self._opening.get(job.id),
            **job.model_dump(include=_OF_A_JOB),
        )

    def _documents_as_rows(self, after: str) -> Iterator[DocumentRow]:
        for document_id in sorted(each for each in self._documents if each > after):
            kept, death = self._documents[document_id], self._deaths.get(document_id)
            yield DocumentRow(
                document=kept.document,
                written=[
                    WrittenRow(generator=generator, written=kept.synthetic_queries[generator])
                    for generator in sorted(kept.synthetic_queries)
                ],
                revision=_revision_row(kept.revision, kept.created_at) if kept.revision else None,
                reviews=[
                    ReviewRow(**kept.reviews[each].model_dump(exclude={"document_id"}))
                    for each in sorted(kept.reviews)
                ],
                death=DeathRow(**death.model_dump(exclude={"document_id"})) if death else None,
                is_behind=document_id in self._behind,
            )

    def begin_import(self, header: HeaderRow, *, replace: bool) -> int:
        """Take the store for an import, or go on with it; return how many rows are written already."""
        with self._lock:
            if self._import and not replace:
                if self._import[0] != header.id:
                    raise half_of_another()
                return self._import[1]
            if replace:
                type(self).__init__(self, self._now)  # type: ignore[call-arg]
            if self._documents or self._jobs:
                raise not_empty(len(self._documents), len(self._jobs))
            self._import = header.id, 0
            self._generator = header.generator or None
            if header.followed:
                followed = header.followed
                self._is_back = followed.is_back
                self._followed = Followed(followed.version, followed.policy, followed.job_id)
            return 0

    def import_rows(self, since: int, rows: Sequence[Row]) -> int:
        """Write rows in one step, if so many are written before; return how many are now."""
        with self._lock:
            export, written = self._import or ("", 0)
            if written == since:
                for row in rows:
                    self._write_row(row)
                self._import = export, since + len(rows)
            return self._import[1] if self._import else 0

    def end_import(self, *, has_moved: bool) -> Counts:
        """Count what was imported."""
        with self._lock:
            for job in list(self._jobs.values()):
                if job.state not in FINAL_STATES:
                    self._settle(job)
            if has_moved:
                self._gather()
            for job_id, staged in self._staged.items():
                self._staged[job_id] = dict(reversed(staged.items()))
            self._import = None
        return self.counts()

    def _settle(self, job: Job) -> None:
        waiting = sum(job_id == job.id for job_id, _ in self._waiting)
        over = job.documents - waiting - len(self._staged.get(job.id, ()))
        failed = min(job.failed, over)
        self._jobs[job.id] = job.model_copy(update={"failed": failed, "done": over - failed})
        self._judge(job.id)

    def _gather(self) -> None:
        waits = {document_id for _, document_id in self._waiting}
        waits.update(*self._staged.values())
        orphans = [
            row.document.id
            for row in self._documents_as_rows("")
            if not row.is_settled and row.document.id not in waits
        ]
        if orphans:
            job = Job(
                id=self._import[0] if self._import else "",
                state=JobState.ACCEPTED,
                accepted_at=self._now(),
                documents=len(orphans),
            )
            self._jobs[job.id] = job
            self._waiting.update({(job.id, each): NO_LEASE for each in orphans})

    @singledispatchmethod
    def _write_row(self, row: object) -> None:
        raise NotImplementedError(type(row))

    @_write_row.register
    def _(self, row: JobRow) -> None:
        cancelled = row.documents - row.done - row.failed
        self._jobs[row.id] = Job(
            id=row.id,
            kind=row.does,
            state=row.state,
            accepted_at=row.accepted_at,
            finished_at=row.finished_at,
            cancelled=cancelled if row.state is JobState.CANCELLED else 0,
            **row.model_dump(include=_OF_A_JOB),
        )
        if row.unchanged_places:
            self._places[row.id] = frozenset(row.unchanged_places)
        if row.does is JobKind.REMAP:
            self._remaps[row.id] = Remap(tuple(row.among))
        if row.after is not None:
            self._opening[row.id] = row.after

    @_write_row.register
    def _(self, row: ErrorsRow) -> None:
        job = self._jobs[row.job_id]
        self._jobs[row.job_id] = job.model_copy(update={"errors": {**job.errors, **row.errors}})

    @_write_row.register
    def _(self, row: WaitingRow) -> None:
        entry = (row.job_id, row.document_id)
        if row.job_id not in self._jobs:  # accepted during the export, and not in it
            return
        self._waiting[entry] = NO_LEASE
        if row.tries is not None:
            self._tries[entry] = Try(alone=row.tries, reason=row.reason)

    @_write_row.register
    def _(self, row: StagedRow) -> None:
        if row.job_id not in self._jobs:
            return
        staged = self._staged.setdefault(row.job_id, {})
        staged[row.document.id] = Incoming(row.document, row.generator, row.written)

    @_write_row.register
    def _(self, row: RequestRow) -> None:
        self._remembered[row.key] = Remembered(row.job_id, row.digest, row.until)

    @_write_row.register
    def _(self, row: RemovedRow) -> None:
        self._removed[row.query_id] = row.version

    @_write_row.register
    def _(self, row: DocumentRow) -> None:
        document, revision = row.document, row.revision
        self._documents[document.id] = Kept(
            document,
            {each.generator: each.written for each in row.written},
            _revision_of(revision) if revision else None,
            revision.created_at if revision else NO_LEASE,
            {
                each.query_id: Review(document_id=document.id, **each.model_dump())
                for each in row.reviews
            },
        )
        if row.death:
            self._deaths[document.id] = DeadLetter(
                document_id=document.id, **row.death.model_dump()
            )
        if row.is_behind:
            self._behind.add(document.id)


def _revision_row(revision: Revision, created_at: datetime) -> RevisionRow:
    return RevisionRow(
        name=revision.name,
        created_at=created_at,
        **{
            name: getattr(revision, name)
            for name in _OF_A_REVISION
            if name not in ("labels", "written")
        },
        written=revision.written.bare(),
        labels=list(revision.labels),
    )


def _revision_of(row: RevisionRow) -> Revision:
    return _Imported(
        known_as=row.name,
        neighbours=0,
        **{name: getattr(row, name) for name in _OF_A_REVISION},
    )
