"""The part of the store in Redis that is read as rows, and written from them."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from typing import Any

import redis

from shared.contracts.augmentation import Counts, JobState
from shared.errors import Conflict
from shared.store import keys, records, row_records, row_scripts
from shared.store.intake_scripts import VALUES_PER_DOCUMENT
from shared.store.portable import half_of_another, not_empty
from shared.store.row_commands import commands_of
from shared.store.rows import (
    DocumentRow,
    ErrorsRow,
    HeaderRow,
    JobRow,
    RemovedRow,
    RequestRow,
    Row,
    StagedRow,
    WaitingRow,
)

_PAGE = 200
_SCANNED = 1_000


class RedisRows:
    """The part of a `RedisStore` that is `Portable`."""

    _redis: redis.Redis

    def _asking(self, *, imports: bool = False) -> AbstractContextManager[None]:
        raise NotImplementedError

    def counts(self) -> Counts:
        """Return how much there is of everything."""
        raise NotImplementedError

    def _register_rows(self, client: redis.Redis) -> None:
        self._read_document = client.register_script(row_scripts.READ_DOCUMENT)
        self._write_rows = client.register_script(row_scripts.WRITE_ROWS)
        self._settle = client.register_script(row_scripts.SETTLE)
        self._gather = client.register_script(row_scripts.GATHER)

    def header(self) -> HeaderRow:
        """Return the first row of an export that begins now."""
        totals = self.totals()
        with self._asking():
            generator: Any = self._redis.get(keys.GENERATOR)
            followed: Any = self._redis.hgetall(keys.FOLLOWED)
        return HeaderRow(
            layout=keys.LAYOUT_VERSION,
            id=uuid.uuid4().hex,
            begun_at=datetime.now(UTC),
            totals=totals,
            generator=generator or "",
            followed=row_records.followed_row_of(followed),
        )

    def totals(self) -> dict[str, int]:
        """Return the running sums, and how many documents there are."""
        with self._asking():
            found: Any = self._redis.hgetall(keys.TOTALS)
            documents: Any = self._redis.zcard(keys.DOCUMENTS)
        return {name: int(value) for name, value in found.items()} | {"documents": documents}

    def iterate_rows(self, after: str = "") -> Iterator[Row]:
        """Yield everything, documents last."""
        if not after:
            yield from self._job_rows()
            yield from self._waiting_rows()
            yield from self._staged_rows()
            yield from self._request_rows()
            yield from self._removed_rows()
        yield from self._document_rows(after)

    def _job_rows(self) -> Iterator[JobRow | ErrorsRow]:
        """Yield the jobs, the oldest first: those accepted meanwhile stand behind them."""
        start = 0
        while True:
            with self._asking():
                ids: Any = self._redis.zrange(keys.JOBS, start, start + _PAGE - 1)
                pipeline = self._redis.pipeline()
                for job_id in ids:
                    pipeline.hgetall(keys.JOB + job_id)
                    pipeline.lrange(keys.REFUSALS + job_id, 0, -1)
                    pipeline.get(keys.AMONG + job_id)
                found = pipeline.execute()
            for job_id, *values in zip(ids, found[::3], found[1::3], found[2::3], strict=True):
                row = row_records.job_row_of(job_id, *values)
                yield row
                if row.failed:
                    yield from self._error_rows(job_id)
            if len(ids) < _PAGE:
                return
            start += _PAGE

    def _error_rows(self, job_id: str) -> Iterator[ErrorsRow]:
        cursor = 0
        while True:
            with self._asking():
                found: Any = self._redis.hscan(keys.ERRORS + job_id, cursor, count=_SCANNED)
            cursor, errors = found
            if errors:
                yield ErrorsRow(job_id=job_id, errors=errors)
            if not cursor:
                return

    def _waiting_rows(self) -> Iterator[WaitingRow]:
        cursor = 0
        while True:
            with self._asking():
                found: Any = self._redis.zscan(keys.WAITING, cursor, count=_SCANNED)
                cursor, entries = found[0], [entry for entry, _ in found[1]]
                tried: Any = self._redis.hmget(keys.TRIES, entries) if entries else []
                states = self._states_of({entry.partition("/")[0] for entry in entries})
            for entry, each in zip(entries, tried, strict=True):
                job_id, _, document_id = entry.partition("/")
                if states[job_id] != JobState.CANCELLED:
                    yield row_records.waiting_row_of(job_id, document_id, each)
            if not cursor:
                return

    def _states_of(self, job_ids: set[str]) -> dict[str, str]:
        pipeline = self._redis.pipeline(transaction=False)
        for job_id in job_ids:
            pipeline.hget(keys.JOB + job_id, "state")
        return dict(zip(job_ids, pipeline.execute(), strict=True))

    def _staged_rows(self) -> Iterator[StagedRow]:
        """Yield the jobs' staged documents from the end, which does not move while they are taken in."""
        with self._asking():
            job_ids: Any = self._redis.zrange(keys.SEALED, 0, -1)
        width = _PAGE * VALUES_PER_DOCUMENT
        for job_id in job_ids:
            start = 0
            while True:
                with self._asking():
                    values: Any = self._redis.lrange(
                        keys.STAGED + job_id, -start - width, -start - 1
                    )
                    gone: Any = self._redis.smembers(keys.GONE + job_id)
                for at in range(len(values) - VALUES_PER_DOCUMENT, -1, -VALUES_PER_DOCUMENT):
                    row = values[at : at + VALUES_PER_DOCUMENT]
                    if row[0] not in gone:
                        yield row_records.staged_row_of(job_id, row)
                if len(values) < width:
                    break
                start += width

    def _request_rows(self) -> Iterator[RequestRow]:
        """Yield the idempotency keys of what is accepted."""
        cursor = 0
        while True:
            with self._asking():
                scanned: Any = self._redis.scan(
                    cursor, f"{keys.IDEMPOTENCY}*", count=_SCANNED, _type="hash"
                )
                cursor, names = scanned
                pipeline = self._redis.pipeline(transaction=False)
                for name in names:
                    pipeline.hmget(name, "job", "digest")
                    pipeline.pexpiretime(name)
                found = pipeline.execute()
            for name, (job_id, digest), ends in zip(names, found[::2], found[1::2], strict=True):
                if job_id and digest and ends > 0:
                    yield RequestRow(
                        key=name.removeprefix(keys.IDEMPOTENCY),
                        job_id=job_id,
                        digest=digest,
                        until=records.time_of(str(ends * 1_000)),
                    )
            if not cursor:
                return

    def _removed_rows(self) -> Iterator[RemovedRow]:
        cursor = 0
        while True:
            with self._asking():
                found: Any = self._redis.zscan(keys.REMOVED, cursor, count=_SCANNED)
            cursor, removed = found
            for query_id, version in removed:
                yield RemovedRow(query_id=query_id, version=int(version))
            if not cursor:
                return

    def _document_rows(self, after: str) -> Iterator[DocumentRow]:
        bound = f"({after}" if after else "-"
        while True:
            with self._asking():
                ids: Any = self._redis.zrange(
                    keys.DOCUMENTS, bound, "+", bylex=True, offset=0, num=_PAGE
                )
                pipeline = self._redis.pipeline(transaction=False)
                for document_id in ids:
                    self._read_document(args=[document_id], client=pipeline)
                found = pipeline.execute()
            yield from (row_records.document_row_of(each) for each in found if each)
            if len(ids) < _PAGE:
                return
            bound = f"({ids[-1]}"

    def begin_import(self, header: HeaderRow, *, replace: bool) -> int:
        """Take the store for an import, or go on with it; return how many rows are written already."""
        if replace:
            self._remove_everything()
        with self._asking(imports=True):
            layout: Any = self._redis.get(keys.LAYOUT)
            found: Any = self._redis.hmget(keys.IMPORT, "id", "lines")
            if layout == keys.IMPORTING and not replace:
                if found[0] != header.id:
                    raise half_of_another()
                return int(found[1])
            documents: Any = self._redis.zcard(keys.DOCUMENTS)
            jobs: Any = self._redis.zcard(keys.JOBS)
            uploads: Any = self._redis.zcard(keys.UPLOADS)
            if documents or jobs or uploads:
                raise not_empty(documents, jobs + uploads)
            pipeline: Any = self._redis.pipeline(transaction=True)
            pipeline.set(keys.LAYOUT, keys.IMPORTING)
            pipeline.hset(keys.IMPORT, mapping={"id": header.id, "lines": 0})
            for command in commands_of(header):
                pipeline.execute_command(*command)
            pipeline.execute()
        return 0

    def import_rows(self, since: int, rows: Sequence[Row]) -> int:
        """Write rows in one step, if so many are written before; return how many are now."""
        args: list[Any] = [since, since + len(rows)]
        for row in rows:
            for command in commands_of(row):
                args += (len(command), *command)
        with self._asking(imports=True):
            written = self._write_rows(args=args)
        if written is None:
            raise Conflict("the import was ended or begun anew by somebody else")
        return int(written)

    def end_import(self, *, has_moved: bool) -> Counts:
        """Count what was imported and let others use the store."""
        with self._asking(imports=True):
            self._settle_jobs()
            job_id: Any = self._redis.hget(keys.IMPORT, "id")
            while has_moved and self._gather(args=[job_id, _PAGE]):
                pass
            pipeline = self._redis.pipeline(transaction=True)
            pipeline.unlink(keys.IMPORT, keys.WAITS, keys.ORPHANS)
            pipeline.set(keys.LAYOUT, keys.LAYOUT_VERSION)
            pipeline.execute()
        return self.counts()

    def _settle_jobs(self) -> None:
        start = 0
        while True:
            ids: Any = self._redis.zrange(keys.JOBS, start, start + _PAGE - 1)
            self._settle(args=ids)
            if len(ids) < _PAGE:
                return
            start += _PAGE

    def _remove_everything(self) -> None:
        with self._asking(imports=True):
            self._redis.set(keys.LAYOUT, keys.IMPORTING)
            cursor = 0
            while True:
                found: Any = self._redis.scan(cursor, keys.EVERYTHING, count=_SCANNED)
                cursor, names = found
                if names:
                    self._redis.unlink(*names)
                if not cursor:
                    return
