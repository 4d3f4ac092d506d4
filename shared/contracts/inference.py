"""What the inference service takes and gives."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Self

from pydantic import (
    ConfigDict,
    Field,
    FiniteFloat,
    Strict,
    StringConstraints,
    TypeAdapter,
    model_validator,
)

from shared.bundle_facts import Lessons, ScoreCalibration
from shared.contracts.base import A_NUMBER, Contract, Identifier, NonBlank, QueryText
from shared.contracts.document import (
    Document,
    LongText,
    MetadataInteger,
    MetadataName,
    MetadataValue,
)

MAX_K = 1_000
MAX_BATCH = 64
FILTER_CHARACTERS = 200
"""Longer texts of metadata are not filtered by."""

FilterText = Annotated[str, StringConstraints(max_length=FILTER_CHARACTERS)]
_Integer = Annotated[MetadataInteger, Strict()]
_Number = Annotated[FiniteFloat, Strict()]
FilterValue = Annotated[bool, Strict()] | _Integer | _Number | FilterText
"""Numbers are compared as 64-bit floats, texts by code point. A truth value is no number."""
Bound = Annotated[bool, Strict()] | _Integer | _Number | FilterText
_BOUNDS = ("gt", "gte", "lt", "lte")


def _describe_condition(schema: dict[str, Any]) -> None:
    """Say what the validators below do: null is no value, a truth value no bound, something is asked."""
    schema["minProperties"] = 1
    for name, field in schema["properties"].items():
        del field["default"]
        unfit = {"null", "boolean"} if name in _BOUNDS else {"null"}
        field["anyOf"] = [each for each in field["anyOf"] if each.get("type") not in unfit]
        if len(field["anyOf"]) == 1:
            field |= field.pop("anyOf")[0]


class Condition(Contract):
    """What a metadata field must be: all that is given holds of its value, or of one element of its list."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", populate_by_name=True, json_schema_extra=_describe_condition
    )

    eq: FilterValue | None = None
    in_: list[FilterValue] | None = Field(default=None, alias="in", min_length=1, max_length=1_000)
    gt: Bound | None = None
    gte: Bound | None = None
    lt: Bound | None = None
    lte: Bound | None = None

    @model_validator(mode="before")
    @classmethod
    def _says_nothing_of_null(cls, value: Any) -> Any:  # noqa: ANN401  (anything JSON can hold)
        if isinstance(value, dict) and None in value.values():
            raise ValueError("null is no value: no ad's metadata has it")
        return value

    @model_validator(mode="after")
    def _asks_something(self) -> Self:
        if all(each is None for each in (self.eq, self.in_, self.gt, self.gte, self.lt, self.lte)):
            raise ValueError("expected at least one of eq, in, gt, gte, lt, lte")
        if any(isinstance(each, bool) for each in (self.gt, self.gte, self.lt, self.lte)):
            raise ValueError("expected a number or a text as a bound")
        return self


Filter = Annotated[
    dict[Annotated[str, StringConstraints(max_length=100)], FilterValue | Condition],
    Field(max_length=20),
]
"""Metadata field -> value, or condition; all of them hold. An ad without the field does not match."""
FILTER: TypeAdapter[dict[str, FilterValue | Condition]] = TypeAdapter(Filter)


class RankedAd(Contract):
    """One answer: an ad and its score, higher is better.

    With a calibrated bundle the score is the probability of a click, comparable between queries; without, an inner
    product, comparable within one answer.
    """

    id: Identifier
    title: str
    score: float
    fields: dict[str, MetadataValue] | None = None
    """Those that were asked for and that the ad has: `text`, or names of metadata."""
    propensity: float | None = None
    """Of an ad that was drawn at random: how probable it was in this place, once the place was drawn."""
    slot: str | None = None
    """Of a drawn ad: what its events must repeat."""


class AdsResponse(Contract):
    """The top ads of a query, best first."""

    query: str
    generation: str
    """The bundle that answered."""
    ads_version: int
    """Grows with every change of the ads: all of an answer is of one."""
    ads: list[RankedAd]
    took_ms: float
    request: str = ""
    """Names this answer: its events repeat it. Also in the header `X-Request-ID`."""


class AdsQuery(Contract):
    """One query of a batch."""

    query: QueryText
    k: Annotated[int, Field(ge=1, le=MAX_K), A_NUMBER] = 10
    filter: Filter | None = None
    fields: list[str] = Field(default_factory=list, max_length=100)


class AdsBatch(Contract):
    """Several queries at once."""

    queries: list[AdsQuery] = Field(min_length=1, max_length=MAX_BATCH)
    timeout_ms: Annotated[int | None, Field(ge=1, le=60_000), A_NUMBER] = None


class BatchAnswer(Contract):
    """The top ads of one query of a batch."""

    query: str
    ads: list[RankedAd]


class AdsBatchResponse(Contract):
    """The answers to a batch, in its order, all of one generation and one state of the ads."""

    generation: str
    ads_version: int
    answers: list[BatchAnswer]
    took_ms: float


class Ad(Document):
    """A document that is served, and what else its vector is made of until a training has seen it."""

    synthetic_queries: list[QueryText] | None = Field(default=None, max_length=256)
    """Of this title and text. Absent: those that are known of them stay."""

    def knowing(self, known: Document | None) -> Self:
        """Return it with the synthetic queries of what is known of it, where it brings none and they are of the same text."""
        if self.synthetic_queries is not None or not isinstance(known, Ad):
            return self
        if (self.title, self.text) != (known.title, known.text):
            return self
        return self.model_copy(update={"synthetic_queries": known.synthetic_queries})

    @property
    def row(self) -> bytes:
        """Return it as one line of JSON, like a document's where there are no synthetic queries."""
        return self.model_dump_json(exclude_none=True).encode()


class AdResponse(Contract):
    """One ad as it is served."""

    generation: str
    ad: Ad


class AdPatch(Contract):
    """What changes of an ad; the rest stays. Metadata is merged by name, null takes a name out."""

    id: Identifier
    title: NonBlank | None = None
    text: LongText | None = None
    metadata: dict[MetadataName, MetadataValue | None] | None = None


class AdId(Contract):
    """An ad that is to be taken out."""

    id: Identifier


class AdsChanged(Contract):
    """What became of a change; the next request sees it."""

    ads_version: int
    ads: int
    """How many there are now."""
    added: int = 0
    changed: int = 0
    unchanged: int = 0
    removed: int = 0
    unknown: int = 0
    refused: int = 0
    """Left out by `unless_deleted`: deleted with the very content they were put with."""


class AdsCompacted(Contract):
    """The journal of the ads was written anew."""

    bytes: int
    """That it has now."""


class ScoreParts(Contract):
    """What an ad's vector is made of; they add up to the inner product."""

    document_embedding: float
    synthetic_queries: float = 0.0
    """Of the mean synthetic query that the vector began with."""
    classifier: float
    """And of the move that stands for it where no training has seen the ad."""
    mixing_weight: float
    """Share of the classifier in the vector."""


class Explanation(Contract):
    """Why an ad has the score it has for a query."""

    id: Identifier
    query: str
    generation: str
    ads_version: int
    score: float
    inner_product: float
    vector: str
    """`trained`, or `cold_start`: embedding and synthetic queries of an ad whose content no training has seen."""
    parts: ScoreParts | None
    """None where the bundle does not say how it was mixed."""
    taught_by: Lessons | None
    """None where the bundle does not say, or nothing did."""


class InferenceInfo(Contract):
    """What the service answers from."""

    generation: str
    ads_version: int = 0
    ads: int
    encoder: str
    dimensions: int
    index: str
    """Kind of the bundle's ad index; `flat` is exact."""
    ef: int | None = None
    """Of a graph: neighbours that a search keeps."""
    nprobe: int | None = None
    """Of lists: how many a search reads."""
    recall_at_10: float = 1.0
    """Of that index against the exact scan, where it was chosen."""
    changed_ads: int = 0
    """Put or changed since the bundle: these have vectors of their own beside it."""
    changed_index: str | None = None
    """Kind of the index over most of these; None while they are compared one by one."""
    cold_start_ads: int = 0
    """Of these, those whose content no training has seen."""
    calibration: ScoreCalibration | None = None
    """How scores become probabilities; None: scores are inner products."""
    metrics: dict[str, float]
    """What training measured when it published the bundle."""


class BundleSummary(Contract):
    """A bundle that can be activated."""

    version: Identifier
    created_at: datetime
    format_version: int
    ads: int
    encoder: str
    metrics: dict[str, float]
    is_served: bool


class Bundles(Contract):
    """The bundles there are, newest first."""

    served: str | None
    previous: str | None
    """What `POST /v1/bundles:rollback` goes back to."""
    bundles: list[BundleSummary]
