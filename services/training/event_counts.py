"""Events become counts that no client and no query can bend far: what a data folder is made of.

A day at a time, and every step is a set or a sum, so that neither the order of events nor how they are parted into
files changes a count.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from shared.events.record import StoredEvent
from shared.plain_text import query_key

CLICK, IMPRESSION = "click", "impression"
Counts = dict[str, dict[str, float]]
"""Query key (`shared.plain_text.query_key`) -> document id -> number."""


@dataclass(frozen=True)
class Caps:
    """What one client or one query may count for on a day. An event without a client is its request's."""

    pair_per_client: int = 3
    """Clicks, and impressions, of a client on a document for a query."""
    client_events: int = 20_000
    """A client with more events than this, or"""
    client_clicks: int = 500
    """with more clicks, is no person: none of its day counts."""
    query_events: int = 100_000
    """A query's clicks and impressions beyond this are scaled down together."""
    needs_client: bool = False
    """Whether an event without a client counts for nothing."""


@dataclass
class Traffic:
    """Who asked a query."""

    clients: set[str] = field(default_factory=set)
    days: set[str] = field(default_factory=set)
    events: int = 0


@dataclass
class EventCounts:
    """All that was counted. Add days in any order, each once.

    Args:
        caps: see there.
    """

    caps: Caps = field(default_factory=Caps)
    events: int = 0
    """That were given."""
    of_bots: int = 0
    """Of them, those of clients past the cap of a day."""
    anonymous: int = 0
    """Of them, those without a client, if one is needed."""
    capped: int = 0
    """Of them, those past a client's cap for a pair, or a query's for a day."""
    traffic: dict[str, Traffic] = field(default_factory=lambda: defaultdict(Traffic))
    clicks: Counter[tuple[str, str]] = field(default_factory=Counter)
    """(query key, document id) -> how often."""
    impressions: Counter[tuple[str, str]] = field(default_factory=Counter)
    drawn_clicks: Counter[tuple[str, str, float]] = field(default_factory=Counter)
    """(query key, document id, propensity) -> clicks on places drawn at random, which also count as clicks."""
    drawn_places: Counter[float] = field(default_factory=Counter)
    """Propensity -> places drawn at random that were seen."""

    def add_day(self, events: Iterable[StoredEvent]) -> None:
        """Count a day's events, each of which must come once (`shared.events.files.read_day`)."""
        by_client: dict[str, list[StoredEvent]] = defaultdict(list)
        keys: dict[str, str] = {}
        for event in events:
            if self.caps.needs_client and not event.client:
                self.events += 1
                self.anonymous += 1
                continue
            by_client[event.client or f"request {event.request}"].append(event)
        numbers: dict[str, Counter[tuple[str, str]]] = defaultdict(Counter)
        places: set[tuple[str, ...]] = set()
        for of_client in by_client.values():
            self.events += len(of_client)
            clicks = sum(event.kind == CLICK for event in of_client)
            if len(of_client) > self.caps.client_events or clicks > self.caps.client_clicks:
                self.of_bots += len(of_client)
                continue
            for event in of_client:
                if event.query not in keys:
                    keys[event.query] = query_key(event.query)
            self._add_client(of_client, keys, numbers, places)
        for key, of_query in numbers.items():
            self._add_query(key, of_query)

    def pairs(self, kind: str) -> Counts:
        """Return the clicks or the impressions."""
        return _nested(self.clicks if kind == CLICK else self.impressions)

    def drawn(self) -> Counts:
        """Return clicks on drawn places, weighed by the inverse propensity.

        Weights are relative to their mean over all drawn places that were seen: 1, if the propensity never changed.
        """
        seen = sum(self.drawn_places.values())
        if not seen:
            return {}
        mean = sum(number / each for each, number in sorted(self.drawn_places.items())) / seen
        weighed: dict[tuple[str, str], float] = defaultdict(float)
        for (key, document, propensity), number in sorted(self.drawn_clicks.items()):
            weighed[key, document] += number / propensity / mean
        return _nested(weighed)

    def _add_client(
        self,
        events: list[StoredEvent],
        keys: Mapping[str, str],
        numbers: dict[str, Counter[tuple[str, str]]],
        places: set[tuple[str, ...]],
    ) -> None:
        counted: Counter[tuple[str, str, str]] = Counter()
        for event in events:
            key = keys[event.query]
            traffic = self.traffic[key]
            traffic.events += 1
            traffic.days.add(event.day)
            if event.client:
                traffic.clients.add(event.client)
            counted[key, event.kind, event.ad] += 1
            place = (event.request, event.ad, event.kind)
            if event.propensity and place not in places:
                places.add(place)  # a place is drawn once, however often it is told
                self._add_drawn(event, key)
        for (key, kind, document), number in counted.items():
            kept = min(number, self.caps.pair_per_client)
            self.capped += number - kept
            numbers[key][kind, document] += kept

    def _add_drawn(self, event: StoredEvent, key: str) -> None:
        if event.kind == CLICK:
            self.drawn_clicks[key, event.ad, event.propensity] += 1
        else:
            self.drawn_places[event.propensity] += 1

    def _add_query(self, key: str, of_query: Mapping[tuple[str, str], int]) -> None:
        total, cap = sum(of_query.values()), self.caps.query_events
        for (kind, document), number in of_query.items():
            kept = -(-number * cap // total) if total > cap else number
            self.capped += number - kept
            (self.clicks if kind == CLICK else self.impressions)[key, document] += kept


def _nested(pairs: Mapping[tuple[str, str], float]) -> Counts:
    nested: Counts = {}
    for (key, document), number in sorted(pairs.items()):
        nested.setdefault(key, {})[document] = float(number)
    return nested
