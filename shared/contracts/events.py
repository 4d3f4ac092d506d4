"""What `POST /v1/events` takes and gives: what users were shown, and what they clicked."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AwareDatetime, Field, StringConstraints

from shared.contracts.base import Contract, Identifier, QueryText

Kind = Literal["impression", "click"]
Status = Literal["accepted", "duplicate", "rejected"]
MAX_POSITION = 1_000


class Event(Contract):
    """An ad that was shown for a query, or clicked. A retry repeats it whole: same id, same time."""

    id: Identifier
    """Its own, made by who saw it; the same again is the same event and counts once."""
    kind: Kind
    time: AwareDatetime
    """When it happened: ISO 8601 with a zone, or seconds since 1970."""
    query: QueryText
    """As the answer repeats it."""
    ad: Identifier
    position: int = Field(ge=1, le=MAX_POSITION)
    """The ad's place in the answer, from 1."""
    generation: Identifier
    """Of the answer."""
    request: Identifier
    """Of the answer: ties an ad's impression and its click together."""
    client: Annotated[str, StringConstraints(min_length=1, max_length=200)] | None = None
    """Whose event it is, as a caller tells its users apart; only a keyed hash of it is kept. Without one a
    query can prove itself by distinct days only."""
    slot: Annotated[str, StringConstraints(min_length=1, max_length=100)] | None = None
    """Of an ad that was drawn at random, as the answer has it: proves the propensity."""


class EventVerdict(Contract):
    """What became of one event, in the order sent."""

    status: Status
    """`duplicate`: the same id is in this request already. Repeats in other requests are accepted, and count once."""
    id: str | None = None
    """None if it could not be read."""
    reason: str | None = None
    """Why it is rejected: sending it again will not help."""


class EventsResponse(Contract):
    """All accepted events are on disk."""

    accepted: int
    duplicates: int
    rejected: int
    verdicts: list[EventVerdict]
