"""What the mapping service takes and gives (`POST /v1/map`)."""

from __future__ import annotations

from pydantic import Field

from shared.contracts.base import Contract, Identifier
from shared.contracts.synthetic_queries import SyntheticQueries


class MapDocument(SyntheticQueries):
    """A document's synthetic queries, and what a verifier may read."""

    text: str = ""
    """Title, text and metadata as one line; empty where nothing verifies."""


class MapRequest(Contract):
    """Documents with their synthetic queries. The optional settings override the service's."""

    documents: list[MapDocument] = Field(min_length=1, max_length=256)
    min_similarity: float | None = Field(default=None, ge=-1, le=1)
    """tau, as a cosine (paper: .6, there written as (cosine + 1) / 2 = .8)."""
    neighbours: int | None = Field(default=None, ge=1, le=100)
    among: list[Identifier] | None = Field(default=None, min_length=1, max_length=1_000)
    """Give labels to these train queries only; unknown ids are passed over. A label found so says which
    documents to map anew: the neighbours that these displace are not looked at."""


class MappedQuery(Contract):
    """A train query that a document gains, and the synthetic query that led to it."""

    query_id: Identifier
    query: str
    similarity: float
    """Cosine between synthetic and train query, in [-1, 1]."""
    synthetic_query: str
    rank: int
    """The train query's place among the synthetic query's neighbours, from 1."""
    agreement: int = 1
    """Trusted synthetic queries of the document that reach it."""
    probability: float | None = None
    """That the label is right, by the calibration; None without one."""


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
    policy: str = ""
    """Names all that decides which labels a document gains: encoder, tau, neighbours, trust, calibration."""
    index_version: int = 0
    """Of the train queries mapped to; grows with every change to them."""
    results: list[MappedDocument]


class MappingInfo(Contract):
    """What the service maps with."""

    encoder: str
    train_queries: int
    trust: str = ""
    policy: str = ""
    index_version: int = 0
    min_similarity: float
    neighbours: int


class TrainQueryChanges(Contract):
    """What became of the train queries after a version."""

    version: int
    """Of the train queries now."""
    policy: str
    is_complete: bool
    """False if the changes since are not known, or more than train queries changed: nothing that was
    mapped before can be taken for current."""
    added: list[Identifier] = Field(default_factory=list)
    """New, or with another text than before (then `removed` too)."""
    removed: list[Identifier] = Field(default_factory=list)
