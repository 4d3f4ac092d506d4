"""A small share of the places goes to ads drawn at random: clicks on these tell what ranking never would.

Of each answer every place is drawn with the probability `share`; a drawn place gets an ad drawn evenly from all ads (or from
the best of them), also from those that are ranked in the answer, which then move. So each ad of the pool has the same, known
propensity in a drawn place, whatever is ranked, and weighing clicks by its inverse is unbiased.
"""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from services.inference.retriever import Ranking
from shared.contracts.document import Document
from shared.errors import InvalidInput
from shared.events.privacy import Keyed

_SLOT = "slot"


class Explorable(Protocol):
    """What exploration asks of a retriever."""

    @property
    def population(self) -> int:
        """Return how many ads can be drawn."""

    def top(self, query: str, k: int) -> Ranking:
        """Return the `k` best ads."""

    def at(self, positions: Sequence[int], ranking: Ranking) -> list[tuple[Document, float]]:
        """Return the ads at these positions, below `population`, with their scores for the ranking's query."""


@dataclass(frozen=True, slots=True)
class Slate:
    """An answer with drawn places."""

    ranking: Ranking
    drawn: frozenset[int] = frozenset()
    """Places, from 0, whose ad was drawn."""
    propensity: float = 0.0
    """Of each drawn ad in its place, given that the place was drawn."""


class Explorer:
    """Draws places, and ads for them. Used from one event loop and its pool of threads.

    Args:
        share: probability that a place is drawn, in [0, 1).
        pool: how many of the best ads are drawn from; 0 draws from all.
        seed: of what is drawn; the system's if None.
    """

    def __init__(self, share: float, pool: int = 0, seed: int | None = None) -> None:
        self._log_kept = math.log1p(-share)
        self._pool, self._random = pool, random.Random(seed)

    def places(self, k: int) -> list[int]:
        """Return which of `k` places are drawn, each on its own: mostly none, for one random number."""
        if not self._log_kept:
            return []
        drawn = []
        place = self._gap()
        while place < k:
            drawn.append(place)
            place += 1 + self._gap()
        return drawn

    def top(self, retriever: Explorable, query: str, k: int, places: Sequence[int]) -> Slate:
        """Return the top ads of a query with drawn ads in these places (as `places` gives them)."""
        pool = max(k, self._pool) if self._pool else 0
        ranking = retriever.top(query, pool or k)
        size = len(ranking.ads) if pool else retriever.population
        length = min(k, len(ranking.ads))
        places = [place for place in places if place < length]
        positions = self._random.sample(range(size), len(places))
        ads = (
            [ranking.ads[each] for each in positions] if pool else retriever.at(positions, ranking)
        )
        slate = _slate(ranking.ads, dict(zip(places, ads, strict=True)), length)
        filled = Ranking(slate, ranking.encode_seconds, ranking.search_seconds, ranking.vector)
        return Slate(filled, frozenset(places), 1 / size if size else 0.0)

    def _gap(self) -> int:
        """Return how many places stay ranked before the next drawn one (geometric)."""
        return int(math.log1p(-self._random.random()) / self._log_kept)


class Slots:
    """Proves with a seal that a place of an answer was drawn, so that no event can invent a propensity.

    Args:
        keyed: of the event files.
    """

    def __init__(self, keyed: Keyed) -> None:
        self._keyed = keyed

    def seal(self, request: str, query: str, ad: str, position: int, propensity: float) -> str:
        """Return the slot of an ad at a position from 1."""
        text = repr(propensity)
        return f"{text}.{self._keyed.seal(_SLOT, request, query, ad, str(position), text)}"

    def propensity(self, slot: str, request: str, query: str, ad: str, position: int) -> float:
        """Return the propensity that a slot proves.

        Raises:
            InvalidInput: it is not one of this answer, ad and position.
        """
        text, _, seal = slot.rpartition(".")
        if not self._keyed.is_seal(seal, _SLOT, request, query, ad, str(position), text):
            raise InvalidInput("slot: not of this request, query, ad and position")
        return float(text)


def _slate(
    ranked: Sequence[tuple[Document, float]], drawn: dict[int, tuple[Document, float]], length: int
) -> list[tuple[Document, float]]:
    """Return `length` ads: the drawn ones in their places, the others in the order of their rank."""
    taken = {ad.id for ad, _ in drawn.values()}
    others = iter([each for each in ranked if each[0].id not in taken])
    return [drawn[place] if place in drawn else next(others) for place in range(length)]
