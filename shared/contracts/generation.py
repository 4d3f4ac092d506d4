"""What the generation service takes and gives (`POST /v1/generate`)."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Field, model_validator

from shared.contracts.base import A_NUMBER, Contract, Identifier, QueryText
from shared.contracts.document import Document
from shared.contracts.synthetic_queries import SyntheticQueries

MAX_DOCUMENTS = 64
MAX_KNOWN_QUERIES = 1_000
NDJSON = "application/x-ndjson"
"""Asked for with `Accept`, results come a line each as documents are finished."""


class GenerateRequest(Contract):
    """Documents that want synthetic queries."""

    documents: list[Document] = Field(min_length=1, max_length=MAX_DOCUMENTS)
    known_queries: dict[
        Identifier, Annotated[list[QueryText], Field(max_length=MAX_KNOWN_QUERIES)]
    ] = Field(default_factory=dict, json_schema_extra={"additionalProperties": False})
    """Document id -> queries that need not be written again, say clicked ones."""
    timeout_seconds: Annotated[float | None, Field(gt=0), A_NUMBER] = None
    """How long each document may take from its arrival; more than the service allows counts as that."""
    seed: Annotated[int, Field(ge=0, lt=2**53), A_NUMBER] = 0
    """Another seed draws other queries where tokens are drawn; each document's content is mixed with it.
    Below the largest integer that all JSON readers agree on."""

    @model_validator(mode="after")
    def _ids_are_distinct_and_known(self) -> Self:
        ids = {document.id for document in self.documents}
        if len(ids) < len(self.documents):
            raise ValueError("a document id occurs twice")
        unknown = next((each for each in self.known_queries if each not in ids), None)
        if unknown is not None:
            raise ValueError(f"known queries of {unknown!r}, which is not among the documents")
        return self


class GeneratedQueries(SyntheticQueries):
    """The distinct synthetic queries of one document, the surest first; may be none."""


class GenerateResponse(Contract):
    """One entry a document, in the order asked."""

    generator: str
    """Names the SLM: its id and the first digits of its sha256."""
    results: list[GeneratedQueries]


class GeneratedLine(GeneratedQueries):
    """A line of a streamed answer: a document that is finished."""

    generator: str


class FailedLine(Contract):
    """A line of a streamed answer: a document without queries, as a problem (RFC 9457) of its own."""

    document_id: Identifier
    type: str
    title: str
    status: int
    detail: str


class GenerationInfo(Contract):
    """What runs here, and how much of it."""

    generator: str
    adapter: str
    temperature: float
    top_k: int
    max_new_tokens: int
    source: str = ""
    """The base model."""
    sha256: str = ""
    """Over the model's files."""
    precision: str = ""
    """Of the weights."""
    top_p: float = 1.0
    samples: int = 1
    """Completions written for one document."""
    searched_queries: int = Field(default=0, exclude_if=lambda count: count == 0)
    """Train queries that the SLM is searched for; left out where nothing is, as versions before know no such field."""
    context_tokens: int = 0
    """Longest prompt plus completion."""
    slots: int = 0
    """Completions written at the same time."""
    key_value_bytes: int = 0
    """Memory of all slots' keys and values when full."""
    max_metadata_tokens: int = 0
    max_queries: int = 0
    """Most queries kept for one document."""
    max_documents: int = 0
    """Most documents of one request."""
    max_waiting: int = 0
    """Most documents taken in and not yet answered."""
    timeout_seconds: float = 0
    """Longest a document may take."""
