"""A small share of the places goes to ads drawn at random: clicks on these tell what ranking never would.

Of each answer every place is drawn with the probability `share`; a drawn place gets an ad drawn evenly from all ads that may
be returned for the request (or from the best of them), also from those that are ranked in the answer, which then move. So each
ad of the pool has the same, known propensity in a drawn place, whatever is ranked, and weighing clicks by its inverse is unbiased.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from shared.errors import InvalidInput
from shared.events.privacy import Keyed

_SLOT = "slot"
_Ad = TypeVar("_Ad")
_Id = TypeVar("_Id", bound=Hashable)


@dataclass(frozen=True, slots=True)
class Slate(Generic[_Ad]):
    """An answer with drawn places."""

    ads: Sequence[_Ad]
    drawn: frozenset[int] = frozenset()
    """Places, from 0, whose ad was drawn."""
    propensity: float = 0.0
    """Of each drawn ad in its place, given that the place was drawn."""


class Explorer:
    """Draws places, and ads for them. Safe to use from an event loop and its pool of threads.

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

    def reach(self, k: int) -> int:
        """Return how many of the best ads `fill` needs for an answer of `k`."""
        return max(k, self._pool)

    def fill(
        self,
        ranked: Sequence[_Ad],
        k: int,
        places: Sequence[int],
        *,
        population: int,
        at: Callable[[Sequence[int]], Sequence[_Ad]],
        id_of: Callable[[_Ad], _Id],
    ) -> Slate[_Ad]:
        """Return an answer with drawn ads in some places, the others ranked.

        Args:
            ranked: the best ads, `reach(k)` of them or all.
            k: of the answer.
            places: as `places(k)` gives them.
            population: how many ads there are to draw from.
            at: gives the ads of some numbers below `population`.
            id_of: tells ads apart.
        """
        length = min(k, len(ranked))
        places = [place for place in places if place < length]
        size = len(ranked) if self._pool else population
        numbers = self._random.sample(range(size), len(places))
        ads = [ranked[number] for number in numbers] if self._pool else at(numbers)
        drawn = dict(zip(places, ads, strict=True))
        taken = {id_of(ad) for ad in ads}
        others = iter([ad for ad in ranked if id_of(ad) not in taken])
        slate = [drawn[place] if place in drawn else next(others) for place in range(length)]
        return Slate(slate, frozenset(drawn), 1 / size if drawn else 0.0)

    def _gap(self) -> int:
        """Return how many places stay ranked before the next drawn one (geometric)."""
        return int(math.log1p(-self._random.random()) / self._log_kept)


@dataclass(frozen=True, slots=True)
class Draw:
    """What is drawn of one answer."""

    explorer: Explorer
    places: Sequence[int]
    """As `Explorer.places` gave them; at least one."""
    mark: Callable[[str, int, float], Mapping[str, object]]
    """Ad, position from 1 and propensity -> what the answer says of the ad besides."""


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
