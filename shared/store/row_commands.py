"""Rows as the commands of Redis that write them: `row_records` backwards."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import singledispatch

import orjson

from shared.contracts.augmentation import JobState
from shared.contracts.document import Document
from shared.contracts.synthetic_queries import WrittenQueries
from shared.store import keys, records
from shared.store.rows import (
    DocumentRow,
    ErrorsRow,
    HeaderRow,
    JobRow,
    RemovedRow,
    RequestRow,
    RevisionRow,
    StagedRow,
    WaitingRow,
)

_WORDS = 500
"""Pairs of one command: Lua unpacks no more than some thousand words."""
Command = Sequence[str | bytes | int | float]


@singledispatch
def commands_of(row: object) -> Iterator[Command]:
    """Yield the commands that write a row into a store that has nothing of it.

    Some begin with `if` and a key: jobs that were accepted during the export are not in it, what waits for them may be.
    """
    raise NotImplementedError(type(row))


@commands_of.register
def _(row: HeaderRow) -> Iterator[Command]:
    if row.generator:
        yield "SET", keys.GENERATOR, row.generator
    if followed := row.followed:
        yield "HSET", keys.FOLLOWED, "version", followed.version, "policy", followed.policy
        if followed.job_id:
            yield "HSET", keys.FOLLOWED, "job", followed.job_id
        if followed.is_back:
            yield "HSET", keys.FOLLOWED, "is_back", 1


@commands_of.register
def _(row: JobRow) -> Iterator[Command]:
    key, accepted_at = keys.JOB + row.id, records.microseconds_of(row.accepted_at)
    yield "HSET", key, "kind", row.does, "state", row.state, "accepted_at", accepted_at
    for name in ("documents", "unchanged", "done", "failed", "labels", "refused"):
        yield "HSET", key, name, getattr(row, name)
    if row.finished_at:
        yield "HSET", key, "finished_at", records.microseconds_of(row.finished_at)
    if row.unchanged_places:
        yield "HSET", key, "as_is", ",".join(str(place + 1) for place in row.unchanged_places)
    if row.after is not None:
        yield "HSET", key, "after", row.after
        yield "ZADD", keys.OPENING, accepted_at, row.id
    if row.among:
        yield "SET", keys.AMONG + row.id, orjson.dumps(row.among)
    for refusal in row.refusals:
        yield "RPUSH", keys.REFUSALS + row.id, refusal.model_dump_json()
    yield "ZADD", keys.JOBS, accepted_at, row.id
    yield _counted(f"jobs:{row.state}", 1)
    yield _counted("accepted", row.documents)
    yield _counted("done", row.done)
    yield _counted("failed", row.failed)
    if row.state is JobState.CANCELLED:
        yield _counted("cancelled", row.documents - row.done - row.failed)


@commands_of.register
def _(row: ErrorsRow) -> Iterator[Command]:
    yield from _hash(keys.ERRORS + row.job_id, list(row.errors.items()))


@commands_of.register
def _(row: WaitingRow) -> Iterator[Command]:
    entry, there = f"{row.job_id}/{row.document_id}", ("if", keys.JOB + row.job_id)
    yield *there, "ZADD", keys.WAITING, 0, entry
    yield *there, "SADD", keys.WAITS, row.document_id
    if row.tries is not None:
        tried = {"alone": row.tries, "owner": "", "reason": row.reason}
        yield *there, "HSET", keys.TRIES, entry, orjson.dumps(tried)


@commands_of.register
def _(row: StagedRow) -> Iterator[Command]:
    document, written = row.document, _written(row.written)
    values = (document.id, document.content_hash, _body(document), row.generator, written)
    there = ("if", keys.JOB + row.job_id)
    yield *there, "LPUSH", keys.STAGED + row.job_id, *reversed(values)
    yield *there, "SADD", keys.WAITS, document.id
    yield *there, *_counted("staged", 1)


@commands_of.register
def _(row: RequestRow) -> Iterator[Command]:
    key = keys.IDEMPOTENCY + row.key
    yield "HSET", key, "job", row.job_id, "digest", row.digest
    yield "PEXPIREAT", key, records.microseconds_of(row.until) // 1_000


@commands_of.register
def _(row: RemovedRow) -> Iterator[Command]:
    yield "ZADD", keys.REMOVED, row.version, row.query_id


@commands_of.register
def _(row: DocumentRow) -> Iterator[Command]:
    document = row.document
    key, content_hash = keys.DOCUMENT + document.id, document.content_hash
    yield "HSET", key, "content_hash", content_hash, "body", _body(document)
    yield "ZADD", keys.DOCUMENTS, 0, document.id
    for each in row.written:
        by = f"{content_hash}:{each.generator}"
        yield "HSET", keys.SYNTHETIC + document.id, by, _written(each.written)
    if row.revision:
        yield from _revision(document.id, row.revision)
    for review in row.reviews:
        value = f"{records.microseconds_of(review.reviewed_at)}:{review.verdict}"
        yield "HSET", keys.REVIEWS + document.id, review.query_id, value
        yield "ZADD", keys.REVIEWED, 0, document.id
    if death := row.death:
        kept = death.model_dump() | {"failed_at": str(records.microseconds_of(death.failed_at))}
        yield "ZADD", keys.DEAD, 0, document.id
        yield "HSET", keys.DEATHS, document.id, orjson.dumps(kept)
    if row.is_behind:
        yield "ZADD", keys.BEHIND, 0, document.id
    if not row.is_settled:
        yield "SADD", keys.ORPHANS, document.id


def _revision(document_id: str, revision: RevisionRow) -> Iterator[Command]:
    key = f"{document_id}:{revision.name}"
    made_by = records.made_by(
        revision.written, revision.generator, revision.encoder, revision.min_similarity
    )
    yield "HSET", keys.DOCUMENT + document_id, "revision", revision.name
    kept: list[tuple[str, str | bytes | int | float]] = [
        (records.MADE_BY, made_by),
        (records.MADE_AT, records.microseconds_of(revision.created_at)),
        (records.MADE_OF, revision.content_hash),
        (records.VERSION, revision.index_version),
        (records.POLICY, revision.policy),
    ]
    kept += [(label.query_id, records.reason_of(label)) for label in revision.labels]
    yield from _hash(keys.PROVENANCE + key, kept)
    for label in revision.labels:
        yield "ZADD", keys.LABELS + key, repr(label.similarity), label.query_id
        yield "SADD", keys.QUERY + label.query_id, document_id
        if label.probability is not None:
            yield "HSET", keys.PROBABILITY + key, label.query_id, repr(label.probability)
    yield _counted("labels", len(revision.labels))


def _hash(key: str, members: Sequence[tuple[str, str | bytes | int | float]]) -> Iterator[Command]:
    for start in range(0, len(members), _WORDS):
        some = members[start : start + _WORDS]
        yield "HSET", key, *(value for member in some for value in member)


def _counted(name: str, by: int) -> Command:
    return "HINCRBY", keys.TOTALS, name, by


def _body(document: Document) -> str:
    return document.model_dump_json()


def _written(written: WrittenQueries | None) -> str:
    return "" if written is None else written.bare().model_dump_json()
