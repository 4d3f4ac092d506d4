"""What the mapping service takes and gives (`POST /v1/map`)."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from shared.contracts.base import A_NUMBER, Contract, Identifier, QueryText
from shared.contracts.synthetic_queries import SyntheticQueries


class MapDocument(SyntheticQueries):
    """A document's synthetic queries, and what a verifier may read."""

    text: str = ""
    """Title, text and metadata as one line; empty where nothing verifies."""


class MapRequest(Contract):
    """Documents with their synthetic queries. The optional settings override the service's."""

    documents: list[MapDocument] = Field(min_length=1, max_length=256)
    min_similarity: Annotated[float | None, Field(ge=-1, le=1), A_NUMBER] = None
    """tau, as a cosine (paper: .6, there written as (cosine + 1) / 2 = .8)."""
    neighbours: Annotated[int | None, Field(ge=1, le=100), A_NUMBER] = None
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
    rule: str = ""
    """What decides on labels: the paper's preset with its figures, or a calibration's digest."""
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


class TrainQuery(Contract):
    """A train query that is put."""

    id: Identifier
    text: QueryText
    split: Literal["train"] = "train"
    """So that a line of `queries.jsonl` can be put as it is; others than train are refused."""
    metadata: dict[str, Any] = Field(default_factory=dict, exclude=True)
    """Not used."""


class TrainQueryId(Contract):
    """A train query that is deleted."""

    id: Identifier


class TrainQueriesChanged(Contract):
    """What a change did."""

    version: int
    train_queries: int
    """There are now."""
    added: int = 0
    changed: int = 0
    """Known ids that have another text now."""
    unchanged: int = 0
    removed: int = 0
    unknown: int = 0
    """Ids to delete that were not there."""
