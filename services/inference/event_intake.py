"""A body of events becomes events to keep, and a verdict for each: one that is wrong costs no other."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import islice

import orjson
from pydantic import ValidationError

from services.inference.exploration import Slots
from shared.contracts.events import Event, EventVerdict
from shared.errors import InvalidInput
from shared.events.privacy import Keyed
from shared.events.record import StoredEvent, stamp

_SHOWN_OF_ID = 200


@dataclass(frozen=True)
class IntakeLimits:
    """How much may come at once, and how old it may be."""

    events: int = 1_000
    age: timedelta = timedelta(days=7)
    ahead: timedelta = timedelta(minutes=5)
    """How far a caller's clock may be ahead."""


@dataclass
class Intake:
    """What a body held."""

    events: list[StoredEvent] = field(default_factory=list)
    verdicts: list[EventVerdict] = field(default_factory=list)
    """In the order sent."""


class EventIntake:
    """Reads bodies. Safe to call from several threads.

    Args:
        keyed: of the event files: clients are kept as its hashes.
        limits: of a body and its events.
        now: the time.
    """

    def __init__(
        self,
        keyed: Keyed,
        limits: IntakeLimits | None = None,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._keyed, self._slots = keyed, Slots(keyed)
        self._limits, self._now = limits or IntakeLimits(), now

    def read(self, body: bytes, *, is_ndjson: bool) -> Intake:
        """Return the events of a JSON list, or of one JSON object a line.

        Raises:
            InvalidInput: the body is no such thing, is empty, or holds too many.
        """
        most = self._limits.events
        # Of lines no more are parsed than may come.
        parts = list(islice(_lines_of(body), most + 1)) if is_ndjson else _list_of(body)
        if not 1 <= len(parts) <= most:
            found = f"more than {most}" if len(parts) > most else "no"
            raise InvalidInput(f"{found} events, expected 1 to {most} at once")
        intake, seen, now = Intake(), set[str](), self._now()
        for part in parts:
            try:
                event = self._stored(_event_of(part), now)
            except InvalidInput as error:
                verdict = EventVerdict(status="rejected", id=_id_of(part), reason=str(error))
            else:
                is_new = event.id not in seen
                verdict = EventVerdict(status="accepted" if is_new else "duplicate", id=event.id)
                if is_new:
                    seen.add(event.id)
                    intake.events.append(event)
            intake.verdicts.append(verdict)
        return intake

    def _stored(self, event: Event, now: datetime) -> StoredEvent:
        if not now - self._limits.age <= event.time <= now + self._limits.ahead:
            raise InvalidInput(
                f"time: {stamp(event.time)} is not within {self._limits.age.days} days before, "
                f"or {self._limits.ahead.seconds} seconds after {stamp(now)}"
            )
        propensity = 0.0
        if event.slot is not None:
            propensity = self._slots.propensity(
                event.slot, event.request, event.query, event.ad, event.position
            )
        return StoredEvent(
            time=stamp(event.time),
            kind=event.kind,
            id=event.id,
            query=event.query,
            ad=event.ad,
            position=event.position,
            generation=event.generation,
            request=event.request,
            client=self._keyed.hash("client", event.client) if event.client else "",
            propensity=propensity,
        )


def _list_of(body: bytes) -> Sequence[object]:
    try:
        parts = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise InvalidInput(f"the body is not JSON: {error}") from error
    if not isinstance(parts, list):
        raise InvalidInput(f"the body is a JSON {type(parts).__name__}, expected a list of events")
    return parts


def _lines_of(body: bytes) -> Iterator[object]:
    for line in io.BytesIO(body):
        if line.strip():
            try:
                yield orjson.loads(line)
            except orjson.JSONDecodeError as error:
                yield InvalidInput(f"not JSON: {error}")


def _event_of(part: object) -> Event:
    if isinstance(part, InvalidInput):
        raise part
    try:
        return Event.model_validate(part)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(place) for place in first["loc"])
        raise InvalidInput(f"{where}: {first['msg']}" if where else first["msg"]) from error


def _id_of(part: object) -> str | None:
    found = part.get("id") if isinstance(part, dict) else None
    return found[:_SHOWN_OF_ID] if isinstance(found, str) else None
