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
)
from shared.contracts.mapping import MappedQuery
from shared.contracts.reviews import Review, ReviewVerdict
from shared.contracts.synthetic_queries import SyntheticQueries
from shared.store.protocols import Revision

MADE_BY, MADE_AT, VERSION, POLICY = "@", "@at", "@version", "@policy"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def time_of(microseconds: str) -> datetime:
    """Return a time that Redis counted."""
    return _EPOCH + timedelta(microseconds=int(microseconds))


def job_of(job_id: str, record: Mapping[str, str], errors: Mapping[str, str]) -> Job:
    """Return a job from its two hashes."""
    return Job(
        id=job_id,
        kind=JobKind(record.get("kind", JobKind.AUGMENT)),
        state=JobState(record["state"]),
        accepted_at=time_of(record["accepted_at"]),
        finished_at=time_of(record["finished_at"]) if "finished_at" in record else None,
        documents=int(record["documents"]),
        done=int(record["done"]),
        failed=int(record["failed"]),
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


def maker_of(revision: Revision) -> bytes:
    """Return what all labels of a revision have in common, as it is kept."""
    return orjson.dumps(
        {
            "synthetic_queries": revision.written.queries,
            "evidence": [tuple(each) for each in revision.written.evidence],
            "generator": revision.generator,
            "encoder": revision.encoder,
            "min_similarity": revision.min_similarity,
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
    reasons, probable = _pairs(provenance), probabilities_of(probabilities)
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
    pairs = [(each, float(similarity)) for each, similarity in _pairs(flat).items()]
    return sorted(pairs, key=lambda pair: (-pair[1], pair[0]))


def probabilities_of(flat: Sequence[str]) -> dict[str, float]:
    """Return train query id -> that the label is right, where a calibration said so."""
    return {query_id: float(probability) for query_id, probability in _pairs(flat).items()}


def _pairs(flat: Sequence[str]) -> dict[str, str]:
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
