"""Synthetic queries, and what speaks for each."""

from __future__ import annotations

from typing import Annotated, Any, NamedTuple, Self

from pydantic import (
    Field,
    GetJsonSchemaHandler,
    PlainSerializer,
    TypeAdapter,
    WithJsonSchema,
    model_validator,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from shared.contracts.base import A_NUMBER, Contract, Identifier, QueryText


class Evidence(NamedTuple):
    """How sure the SLM was of a query; as JSON a list of two numbers, or of three."""

    support: Annotated[float, Field(ge=0, le=1), A_NUMBER]
    """Share of the document's samples that have it."""
    log_probability: Annotated[float | None, Field(le=0), A_NUMBER] = None
    """Natural, of its whole line, in the sample that finds it likeliest; None if unknown."""
    expected: Annotated[float | None, Field(ge=0, allow_inf_nan=False), A_NUMBER] = None
    """Lines of a sample that are it, on average, by the SLM's own probabilities: of train queries that the samples
    were searched for, 0 of all else; None where nothing was searched."""

    def as_json(self) -> list[float | None]:
        """Return it as it is written: what was not searched is a pair."""
        return list(self if self.expected is not None else self[:2])


_AS_JSON = PlainSerializer(Evidence.as_json, return_type=list[float | None])
_SCHEMA = WithJsonSchema(TypeAdapter(Evidence).json_schema(), mode="serialization")


class WrittenQueries(Contract):
    """Distinct queries written for one document; a bare list of texts is read as queries without evidence."""

    queries: list[QueryText] = Field(max_length=256)
    evidence: list[Annotated[Evidence, _AS_JSON, _SCHEMA]] = Field(default_factory=list)
    """One a query, in their order; none if it is not known."""

    def bare(self) -> WrittenQueries:
        """Return the queries and their evidence, without what a subclass adds."""
        return WrittenQueries(queries=self.queries, evidence=self.evidence)

    @model_validator(mode="before")
    @classmethod
    def _from_texts(cls, value: Any) -> Any:  # noqa: ANN401  (anything JSON can hold)
        return {"queries": value} if isinstance(value, list) else value

    @classmethod
    def __get_pydantic_json_schema__(
        cls, core_schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        """Tell of the bare list too, where the rest does not ask for more than the queries."""
        schema = handler(core_schema)
        if cls is not WrittenQueries:
            return schema
        return {"anyOf": [schema, handler.resolve_ref_schema(schema)["properties"]["queries"]]}

    @model_validator(mode="after")
    def _evidence_is_of_every_query(self) -> Self:
        if self.evidence and len(self.evidence) != len(self.queries):
            raise ValueError(
                f"evidence of {len(self.evidence)} queries, expected of all {len(self.queries)} or none"
            )
        return self


class SyntheticQueries(WrittenQueries):
    """A document's synthetic queries."""

    document_id: Identifier

    @classmethod
    def of(cls, document_id: str, written: WrittenQueries) -> Self:
        """Return the queries with the document they were written for."""
        return cls(document_id=document_id, queries=written.queries, evidence=written.evidence)
