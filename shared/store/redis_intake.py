"""Taking documents in, in Redis."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Any

import redis

from shared.contracts.augmentation import Job
from shared.contracts.document import Document
from shared.errors import Conflict, InFlight, InvalidInput, NotFound
from shared.store import intake_scripts, keys, records
from shared.store.intake import (
    CANNOT_CANCEL,
    LOST,
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


class RedisIntake:
    """The part of a `RedisStore` that is `Intake` and cancels jobs."""

    _redis: redis.Redis

    def _asking(self) -> AbstractContextManager[None]:
        raise NotImplementedError

    def _register_intake(self, client: redis.Redis) -> None:
        self._accept = client.register_script(intake_scripts.ACCEPT)
        self._open = client.register_script(intake_scripts.OPEN)
        self._stage = client.register_script(intake_scripts.STAGE)
        self._seal = client.register_script(intake_scripts.SEAL)
        self._take_in = client.register_script(intake_scripts.TAKE_IN)
        self._release = client.register_script(intake_scripts.RELEASE)
        self._drop = client.register_script(intake_scripts.DROP)
        self._drop_expired = client.register_script(intake_scripts.DROP_EXPIRED)
        self._cancel = client.register_script(intake_scripts.CANCEL)

    def accept(self, documents: Sequence[Document]) -> Job:
        """Keep documents and the record of a new job."""
        return self.accept_request([Incoming(each) for each in documents], None).job

    def accept_request(self, incoming: Sequence[Incoming], key: Key | None) -> Acceptance:
        """Keep documents, a new job and the key in one step, or say what the key stands for."""
        job_id = uuid.uuid4().hex  # known before the call, so that a repeated one changes nothing
        known_by = (key.name, key.digest, key.seconds) if key else ("", "", 0)
        rows = [value for each in incoming for value in _row(each)]
        with self._asking():
            status, *found = self._accept(args=[job_id, *known_by, *rows])
        if status == "busy":
            raise InFlight(UNDER_WAY)
        if status == "other":
            raise InvalidInput(OTHER_BODY)
        record = records.pairs(found[1])
        return Acceptance(
            records.accepted_job_of(found[0], record, ()),
            records.places_of(record.get("as_is", "")),
            is_replay=status == "replayed",
        )

    def open_upload(self, key: str | None, hold: Hold) -> Upload | SealedUpload:
        """Begin an upload, or go on with the one under this key."""
        with self._asking():
            found = self._open(args=[key or "", uuid.uuid4().hex, *_held(hold)])
        if found[0] == "busy":
            raise InFlight(UNDER_WAY, retry_after_seconds=1 + int(found[1]) // 1_000_000)
        if found[0] == "sealed":
            return SealedUpload(found[1], found[2])
        return Upload(found[1], Position(int(found[2]), int(found[3]), found[4]))

    def stage(self, job_id: str, hold: Hold, chunk: Chunk) -> None:
        """Keep a chunk, and hold the upload for longer."""
        refusals = [each.model_dump_json() for each in chunk.refusals]
        to = chunk.to
        args: list[Any] = [job_id, *_held(hold), chunk.since, to.bytes, to.lines, to.digest]
        args += [chunk.refused, len(refusals), *refusals]
        for line, each in chunk.documents:
            args.append(line)
            args += _row(each)
        with self._asking():
            is_done = self._stage(args=args)
        if not is_done:
            raise Conflict(LOST)

    def seal(self, job_id: str, hold: Hold, to: Position, *, remember_seconds: int) -> bool:
        """Make an upload a job that runs, in one step; False, and it is dropped, without a document."""
        with self._asking():
            outcome = self._seal(args=[job_id, hold.owner, to.bytes, to.digest, remember_seconds])
        if outcome == "lost":
            raise Conflict(LOST)
        return bool(outcome == "sealed")

    def accepted(self, job_id: str) -> Job:
        """Return a job as it was when it was accepted."""
        with self._asking():
            pipeline = self._redis.pipeline()
            pipeline.hgetall(keys.JOB + job_id)
            pipeline.lrange(keys.REFUSALS + job_id, 0, -1)
            record, refusals = pipeline.execute()
        if not record:
            raise NotFound(f"there is no job {job_id!r}")
        return records.accepted_job_of(job_id, record, refusals)

    def sealed_uploads(self) -> list[str]:
        """Return the jobs with documents that are still staged, the oldest first."""
        with self._asking():
            found: Any = self._redis.zrange(keys.SEALED, 0, -1)
        return list(found)

    def take_in(self, job_id: str, limit: int) -> tuple[Sequence[str], bool]:
        """Take in the next staged documents of a job."""
        with self._asking():
            is_last, *document_ids = self._take_in(args=[job_id, limit])
        return document_ids, bool(is_last)

    def release_upload(self, job_id: str, hold: Hold) -> None:
        """Let another go on with an upload; one without a key is dropped."""
        with self._asking():
            self._release(args=[job_id, hold.owner])

    def drop_upload(self, job_id: str, hold: Hold) -> None:
        """Forget an upload and its key, whole."""
        with self._asking():
            self._drop(args=[job_id, hold.owner])

    def drop_expired_uploads(self, limit: int) -> int:
        """Drop uploads that nobody went on with; return how many."""
        with self._asking():
            return int(self._drop_expired(args=[limit]))

    def note_generator(self, generator: str) -> None:
        """Remember which generator serves."""
        with self._asking():
            if self._redis.get(keys.GENERATOR) != generator:
                self._redis.set(keys.GENERATOR, generator)

    def jobs(self, limit: int, cursor: str | None = None) -> tuple[list[Job], str | None]:
        """Return jobs, newest first, after a cursor, and the cursor of those that follow."""
        with self._asking():
            found = self._page_of_jobs(limit, records.read_cursor(cursor) if cursor else None)
        jobs = self._jobs([job_id for job_id, _ in found[:limit]])
        if len(found) <= limit:
            return jobs, None
        job_id, accepted_at = found[limit - 1]
        return jobs, records.cursor_of(job_id, int(accepted_at))

    def _page_of_jobs(self, limit: int, after: tuple[str, int] | None) -> list[tuple[str, float]]:
        """Return one more than wanted, to know whether any follow."""
        start: Any = 0
        if after is not None:
            job_id, accepted_at = after
            start = self._redis.zrevrank(keys.JOBS, job_id)
            if start is None:  # gone since
                start = self._redis.zcount(keys.JOBS, accepted_at, "+inf")
            else:
                start += 1
        found: Any = self._redis.zrange(
            keys.JOBS, start, start + limit, desc=True, withscores=True
        )
        return list(found)

    def cancel(self, job_id: str) -> Job:
        """Have nothing more of a job worked on; one that is over stays as it is."""
        with self._asking():
            kind = self._cancel(args=[job_id])
        if kind == "remap":
            raise Conflict(CANNOT_CANCEL)
        return self.job(job_id)

    def job(self, job_id: str) -> Job:
        """Return a job's record."""
        raise NotImplementedError

    def _jobs(self, job_ids: Sequence[str]) -> list[Job]:
        raise NotImplementedError


def _row(incoming: Incoming) -> Iterator[str]:
    document, written = incoming.document, incoming.written
    yield document.id
    yield document.content_hash
    yield document.model_dump_json()
    yield incoming.generator
    yield "" if written is None else written.bare().model_dump_json()


def _held(hold: Hold) -> tuple[str, int, int]:
    return hold.owner, int(hold.seconds * 1e6), int(hold.keep_seconds * 1e6)
