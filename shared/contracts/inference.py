"""What the inference service takes and gives."""

from __future__ import annotations

from shared.contracts.base import Contract, Identifier
from shared.contracts.document import Document


class RankedAd(Contract):
    """One answer: an ad and its score (higher is better; comparable within one answer)."""

    id: Identifier
    title: str
    score: float
    propensity: float | None = None
    """Of an ad that was drawn at random: how probable it was in this place, once the place was drawn."""
    slot: str | None = None
    """Of a drawn ad: what its events must repeat."""


class AdsResponse(Contract):
    """The top ads of a query, best first."""

    query: str
    generation: str
    """The bundle that answered."""
    ads: list[RankedAd]
    took_ms: float
    request: str = ""
    """Names this answer: its events repeat it. Also in the header `X-Request-ID`."""


class AdResponse(Contract):
    """One ad as the bundle knows it."""

    generation: str
    ad: Document


class InferenceInfo(Contract):
    """What the service answers from."""

    generation: str
    ads: int
    encoder: str
    dimensions: int
    index: str
    """Kind of the ad index; `flat` is exact."""
    metrics: dict[str, float]
    """What training measured when it published the bundle."""
