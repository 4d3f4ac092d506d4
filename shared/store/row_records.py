"""Rows from Redis's strings; `row_commands` is the way back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from shared.contracts.augmentation import JobKind, JobState, Refusal
from shared.contracts.document import Document
from shared.contracts.mapping import MappedQuery
from shared.contracts.synthetic_queries import WrittenQueries
from shared.store.records import (
    MADE_AT,
    MADE_BY,
    MADE_OF,
    POLICY,
    VERSION,
    best_first,
    pairs,
    places_of,
    probabilities_of,
    reviews_of,
    time_of,
)
from shared.store.rows import (
    DeathRow,
    DocumentRow,
    FollowedRow,
    JobRow,
    ReviewRow,
    RevisionRow,
    StagedRow,
    WaitingRow,
    WrittenRow,
)


def job_row_of(
    job_id: str, record: Mapping[str, str], refusals: Sequence[str], among: str | None
) -> JobRow:
    """Return the row of a job's record."""
    counts = ("documents", "unchanged", "done", "failed", "labels", "refused")
    return JobRow(
        id=job_id,
        does=JobKind(record.get("kind", JobKind.AUGMENT)),
        state=JobState(record["state"]),
        accepted_at=time_of(record["accepted_at"]),
        finished_at=time_of(record["finished_at"]) if "finished_at" in record else None,
        refusals=[Refusal.model_validate_json(each) for each in refusals],
        unchanged_places=sorted(places_of(record.get("as_is", ""))),
        among=orjson.loads(among) if among else [],
        after=record.get("after"),
        **{name: int(record.get(name, 0)) for name in counts},
    )


def waiting_row_of(job_id: str, document_id: str, tried: str | None) -> WaitingRow:
    """Return the row of what waits; whose hands it is in is not kept."""
    if tried is None:
        return WaitingRow(job_id=job_id, document_id=document_id)
    kept = orjson.loads(tried)
    return WaitingRow(
        job_id=job_id,
        document_id=document_id,
        tries=int(kept["alone"]),
        reason=kept.get("reason", ""),
    )


def staged_row_of(job_id: str, values: Sequence[str]) -> StagedRow:
    """Return the row of a staged document."""
    _, _, body, generator, written = values
    return StagedRow(
        job_id=job_id,
        document=Document.model_validate_json(body),
        generator=generator,
        written=WrittenQueries.model_validate_json(written) if written else None,
    )


def followed_row_of(kept: Mapping[str, str]) -> FollowedRow | None:
    """Return what is followed, None before the first time."""
    if not kept:
        return None
    return FollowedRow(
        version=int(kept["version"]),
        policy=kept["policy"],
        job_id=kept.get("job"),
        is_back="is_back" in kept,
    )


def document_row_of(found: Sequence[Any]) -> DocumentRow:
    """Return the row of what `READ_DOCUMENT` found."""
    body, written, revision, similarities, probabilities, provenance, reviews, death, behind = (
        found
    )
    document = Document.model_validate_json(body)
    return DocumentRow(
        document=document,
        written=[
            WrittenRow(
                generator=by.removeprefix(f"{document.content_hash}:"),
                written=WrittenQueries.model_validate_json(queries),
            )
            for by, queries in sorted(pairs(written).items())
            if by.startswith(f"{document.content_hash}:")
        ],
        revision=_revision_of(revision, similarities, probabilities, pairs(provenance))
        if revision
        else None,
        reviews=[
            ReviewRow(query_id=each.query_id, verdict=each.verdict, reviewed_at=each.reviewed_at)
            for each in reviews_of(document.id, pairs(reviews))
        ],
        death=_death_of(death) if death else None,
        is_behind=bool(behind),
    )


def _revision_of(
    name: str,
    similarities: Sequence[str],
    probabilities: Sequence[str],
    provenance: Mapping[str, str],
) -> RevisionRow:
    made_by, probable = orjson.loads(provenance[MADE_BY]), probabilities_of(probabilities)
    return RevisionRow(
        name=name,
        content_hash=provenance.get(MADE_OF, ""),
        generator=made_by["generator"],
        written=WrittenQueries(
            queries=made_by["synthetic_queries"], evidence=made_by.get("evidence", [])
        ),
        encoder=made_by["encoder"],
        min_similarity=made_by["min_similarity"],
        policy=provenance.get(POLICY, ""),
        index_version=int(provenance.get(VERSION, 0)),
        created_at=time_of(provenance[MADE_AT]),
        labels=[
            _label_of(query_id, similarity, provenance[query_id], probable.get(query_id))
            for query_id, similarity in best_first(similarities)
        ],
    )


def _label_of(
    query_id: str, similarity: float, why: str, probability: float | None
) -> MappedQuery:
    query, synthetic_query, rank, *agreement = orjson.loads(why)
    return MappedQuery(
        query_id=query_id,
        query=query,
        similarity=similarity,
        synthetic_query=synthetic_query,
        rank=rank,
        agreement=agreement[0] if agreement else 1,
        probability=probability,
    )


def _death_of(kept: str) -> DeathRow:
    found = orjson.loads(kept)
    return DeathRow(
        job_id=found["job_id"],
        reason=found["reason"],
        tries=int(found["tries"]),
        failed_at=time_of(found["failed_at"]),
    )
