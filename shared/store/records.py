"""What Redis's strings mean: times, jobs and labels as contracts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson

from shared.contracts.augmentation import (
    DocumentLabels,
    Job,
    JobKind,
    JobState,
    Label,
    Provenance,
    Refusal,
)
from shared.contracts.mapping import MappedQuery
from shared.contracts.reviews import Review, ReviewVerdict
from shared.contracts.synthetic_queries import SyntheticQueries, WrittenQueries
from shared.errors import InvalidInput
from shared.store.protocols import Revision

MADE_BY, MADE_AT, MADE_OF, VERSION, POLICY = "@", "@at", "@of", "@version", "@policy"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def time_of(microseconds: str) -> datetime:
    """Return a time that Redis counted."""
    return _EPOCH + timedelta(microseconds=int(microseconds))


def microseconds_of(time: datetime) -> int:
    """Return a time as Redis counts it."""
    return (time - _EPOCH) // timedelta(microseconds=1)


def job_of(
    job_id: str,
    record: Mapping[str, str],
    errors: Mapping[str, str],
    refusals: Sequence[str],
) -> Job:
    """Return a job from its two hashes and its list."""
    state = JobState(record["state"])
    documents, done, failed = (int(record[name]) for name in ("documents", "done", "failed"))
    return Job(
        id=job_id,
        kind=JobKind(record.get("kind", JobKind.AUGMENT)),
        state=state,
        accepted_at=time_of(record["accepted_at"]),
        finished_at=time_of(record["finished_at"]) if "finished_at" in record else None,
        documents=documents,
        unchanged=int(record.get("unchanged", 0)),
        done=done,
        failed=failed,
        cancelled=documents - done - failed if state is JobState.CANCELLED else 0,
        refused=int(record.get("refused", 0)),
        refusals=_by_line(refusals),
        labels=int(record["labels"]),
        errors=dict(errors),
    )


def reviews_of(document_id: str, kept: Mapping[str, str]) -> list[Review]:
    """Return a document's verdicts from their hash, by train query."""
    reviews = []
    for query_id in sorted(kept):
        reviewed_at, verdict = kept[query_id].split(":")
        reviews.append(
            Review(
                document_id=document_id,
                query_id=query_id,
                verdict=ReviewVerdict(verdict),
                reviewed_at=time_of(reviewed_at),
            )
        )
    return reviews


def accepted_job_of(job_id: str, record: Mapping[str, str], refusals: Sequence[str]) -> Job:
    """Return a job as it was when it was accepted, whatever became of it since."""
    return as_accepted(job_of(job_id, record, {}, refusals))


def as_accepted(job: Job) -> Job:
    """Return a job as it was when it was accepted, whatever became of it since."""
    is_done = job.unchanged == job.documents
    return job.model_copy(
        update={
            "state": JobState.DONE if is_done else JobState.ACCEPTED,
            "finished_at": job.accepted_at if is_done else None,
            "done": job.unchanged,
            "failed": 0,
            "cancelled": 0,
            "labels": 0,
            "errors": {},
        }
    )


def places_of(as_is: str) -> frozenset[int]:
    """Return places from 0 of what a script counted from 1."""
    return frozenset(int(place) - 1 for place in as_is.split(",") if place)


def cursor_of(job_id: str, accepted_at: int) -> str:
    """Return where a page of jobs ends; the time is in microseconds."""
    return f"{accepted_at}-{job_id}"


def read_cursor(cursor: str) -> tuple[str, int]:
    """Return job id and microseconds of a cursor.

    Raises:
        InvalidInput: it is none of ours.
    """
    accepted_at, _, job_id = cursor.partition("-")
    if not (accepted_at.isascii() and accepted_at.isdigit() and len(accepted_at) <= 16):
        raise InvalidInput("cursor: expected the `next_cursor` of a page before")
    return job_id, int(accepted_at)


def _by_line(refusals: Sequence[str]) -> list[Refusal]:
    found = [Refusal.model_validate_json(each) for each in refusals]
    return sorted(found, key=lambda each: each.line)


def maker_of(revision: Revision) -> bytes:
    """Return what all labels of a revision have in common, as it is kept."""
    return made_by(revision.written, revision.generator, revision.encoder, revision.min_similarity)


def made_by(written: WrittenQueries, generator: str, encoder: str, min_similarity: float) -> bytes:
    """Return what made labels, as it is kept."""
    return orjson.dumps(
        {
            "synthetic_queries": written.queries,
            "evidence": [each.as_json() for each in written.evidence],
            "generator": generator,
            "encoder": encoder,
            "min_similarity": min_similarity,
        }
    )


def written_of(document_id: str, made_by: str) -> SyntheticQueries:
    """Return what a revision's labels were made from; versions before evidence kept none."""
    kept = orjson.loads(made_by)
    return SyntheticQueries(
        document_id=document_id,
        queries=kept["synthetic_queries"],
        evidence=kept.get("evidence", []),
    )


def reason_of(label: MappedQuery) -> bytes:
    """Return what a label has for itself, as it is kept."""
    return orjson.dumps([label.query, label.synthetic_query, label.rank, label.agreement])


def labels_of(
    document_id: str,
    revision: str,
    similarities: Sequence[str],
    probabilities: Sequence[str],
    provenance: Sequence[str],
) -> DocumentLabels:
    """Return a document's labels from its sorted set and its hashes, all flat lists of pairs."""
    reasons, probable = pairs(provenance), probabilities_of(probabilities)
    made_by = orjson.loads(reasons[MADE_BY])
    synthetic_queries = made_by.pop("synthetic_queries")
    made_by.pop("evidence", None)
    made_by["created_at"] = time_of(reasons[MADE_AT])
    made_by["index_version"] = int(reasons.get(VERSION, 0))
    made_by["policy"] = reasons.get(POLICY, "")
    return DocumentLabels(
        document_id=document_id,
        revision=revision,
        synthetic_queries=synthetic_queries,
        labels=[
            _label(
                query_id,
                similarity,
                orjson.loads(reasons[query_id]),
                {**made_by, "probability": probable.get(query_id)},
            )
            for query_id, similarity in best_first(similarities)
        ],
    )


def best_first(flat: Sequence[str]) -> list[tuple[str, float]]:
    """Return (id, similarity) by falling similarity, equals by id."""
    found = [(each, float(similarity)) for each, similarity in pairs(flat).items()]
    return sorted(found, key=lambda pair: (-pair[1], pair[0]))


def probabilities_of(flat: Sequence[str]) -> dict[str, float]:
    """Return train query id -> that the label is right, where a calibration said so."""
    return {query_id: float(probability) for query_id, probability in pairs(flat).items()}


def pairs(flat: Sequence[str]) -> dict[str, str]:
    """Return a flat list of names and values as a mapping."""
    return dict(zip(flat[::2], flat[1::2], strict=True))


def _label(
    query_id: str, similarity: float, why: Sequence[Any], made_by: Mapping[str, Any]
) -> Label:
    query, synthetic_query, rank, *agreement = why  # kept without agreement by earlier versions
    return Label(
        query_id=query_id,
        query=query,
        similarity=similarity,
        provenance=Provenance(
            synthetic_query=synthetic_query,
            rank=rank,
            agreement=agreement[0] if agreement else 1,
            **made_by,
        ),
    )
