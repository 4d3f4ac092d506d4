"""What the mapping service takes and gives (`POST /v1/map`)."""

from __future__ import annotations

from pydantic import Field

from shared.contracts.base import Contract, Identifier
from shared.contracts.synthetic_queries import SyntheticQueries


class MapRequest(Contract):
    """Documents with their synthetic queries. The optional settings override the service's."""

    documents: list[SyntheticQueries] = Field(min_length=1, max_length=256)
    min_similarity: float | None = Field(default=None, ge=-1, le=1)
    """tau, as a cosine (paper: .6, there written as (cosine + 1) / 2 = .8)."""
    neighbours: int | None = Field(default=None, ge=1, le=100)


class MappedQuery(Contract):
    """A train query that a document gains, and the synthetic query that led to it."""

    query_id: Identifier
    query: str
    similarity: float
    """Cosine between synthetic and train query, in [-1, 1]."""
    synthetic_query: str
    rank: int
    """The train query's place among the synthetic query's neighbours, from 1."""


class MappedDocument(Contract):
    """The train queries of one document: each once, most similar first."""

    document_id: Identifier
    labels: list[MappedQuery]


class MapResponse(Contract):
    """One entry a document, in the order asked."""

    encoder: str
    """Names the mapping encoder: its id and the first digits of its sha256."""
    min_similarity: float
    neighbours: int
    trust: str = ""
    """Names the bounds that a synthetic query had to reach to lead to labels."""
    results: list[MappedDocument]


class MappingInfo(Contract):
    """What the service maps with."""

    encoder: str
    train_queries: int
    trust: str = ""
    min_similarity: float
    neighbours: int
