"""What must lie in the event files after a soak: every event that was accepted, once, as it was sent."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from shared.events.files import days_of, read_day
from shared.events.record import StoredEvent, stamp

_SHOWN = 5


class EventsOracle:
    """Makes the events of answers, and knows which of them were taken. Not for several threads at once."""

    def __init__(self) -> None:
        self._sent: dict[str, Mapping[str, Any]] = {}
        self.accepted: dict[str, Mapping[str, Any]] = {}

    def events_of(
        self, answer: Mapping[str, Any], chooser: random.Random
    ) -> Sequence[Mapping[str, Any]]:
        """Return an impression of each of the first ads of an answer, and a click on one of them."""
        shown = list(enumerate(answer["ads"][:_SHOWN], start=1))
        clicked = [chooser.choice(shown)] if shown else []
        return [
            self._event(answer, kind, position, ad)
            for kind, ads in (("impression", shown), ("click", clicked))
            for position, ad in ads
        ]

    def _event(
        self, answer: Mapping[str, Any], kind: str, position: int, ad: Mapping[str, Any]
    ) -> Mapping[str, Any]:
        event = {
            "id": f"e{len(self._sent)}",
            "kind": kind,
            "time": stamp(datetime.now(UTC)),
            "query": answer["query"],
            "ad": ad["id"],
            "position": position,
            "generation": answer["generation"],
            "request": answer["request"],
        }
        if "slot" in ad:
            event["slot"] = ad["slot"]
        self._sent[event["id"]] = event
        return event

    def note(self, told: Mapping[str, Any]) -> None:
        """Hear what the service said of events that it was sent."""
        for verdict in told["verdicts"]:
            if verdict["status"] == "accepted":
                self.accepted[verdict["id"]] = self._sent[verdict["id"]]

    def rejected(self, told: Mapping[str, Any]) -> list[str]:
        """Return why events were rejected; none of these should be."""
        return [
            f"event {verdict['id']} was rejected: {verdict['reason']}"
            for verdict in told["verdicts"]
            if verdict["status"] == "rejected"
        ]

    def faults(self, folder: Path) -> Iterator[str]:
        """Yield what is wrong with the files: an event lost, changed, unasked for, or a line that is damaged."""
        kept: dict[str, StoredEvent] = {}
        for day in days_of(folder):
            found = read_day(folder, day)
            if found.damaged:
                yield f"{day}: {found.damaged} damaged lines"
            kept |= {event.id: event for event in found.events}
        for event_id, sent in self.accepted.items():
            if event_id not in kept:
                yield f"event {event_id} was accepted and is lost"
            elif not _is_of(kept[event_id], sent):
                yield f"event {event_id} is {kept[event_id]}, was sent as {sent}"
        for event_id in kept.keys() - self.accepted.keys():
            yield f"event {event_id} is kept and was not accepted"


def _is_of(kept: StoredEvent, sent: Mapping[str, Any]) -> bool:
    names = ("kind", "time", "query", "ad", "position", "generation", "request")
    same = all(getattr(kept, name) == sent[name] for name in names)
    return same and (kept.propensity > 0) == ("slot" in sent)
