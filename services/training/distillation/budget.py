"""What asking a teacher may cost: reserved before each call, remembered across runs and crashes.

Every call is written down with the most it can cost before it is sent, and again with what it did
cost. What a crash or a time-out leaves unknown stays at the most.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal

from pydantic import Field

from services.training.distillation.journal import Journal
from shared.contracts.base import Contract


class Cost(Contract):
    """Of one call: tokens read and written, and money in the currency of the prices."""

    call: int = Field(ge=1)
    """Number of the call, over all runs that write the same file of answers."""
    tokens_in: int = Field(default=0, ge=0)
    tokens_out: int = Field(default=0, ge=0)
    money: float = Field(default=0.0, ge=0, allow_inf_nan=False)
    is_estimate: bool = False
    """The endpoint did not say: this is the most it can have been."""


LimitName = Literal["calls", "tokens", "money"]


@dataclass(frozen=True)
class Limits:
    """The most that all runs together may cost; None is without limit."""

    calls: int | None = None
    tokens: int | None = None
    money: float | None = None


@dataclass
class Total:
    """A sum of costs."""

    calls: int = 0
    tokens: int = 0
    money: float = 0.0

    def add(self, cost: Cost) -> None:
        """Count one call."""
        self.calls += 1
        self.tokens += cost.tokens_in + cost.tokens_out
        self.money += cost.money


@dataclass
class Budget:
    """Grants calls as long as the limits hold even if every open call costs its most.

    Args:
        limits: over all runs.
        journal: where calls are written down.
        answered: costs recorded with answers; they overrule what the journal says of those calls.
    """

    limits: Limits
    journal: Journal[Cost]
    answered: Iterable[Cost] = ()
    spent: Total = field(default_factory=Total, init=False)
    """All calls that are over, of this and earlier runs."""
    reached: LimitName | None = field(default=None, init=False)
    """The limit that refused a call."""
    _open: dict[int, Cost] = field(default_factory=dict, init=False)
    _changed: asyncio.Event = field(default_factory=asyncio.Event, init=False)

    def __post_init__(self) -> None:
        known = {cost.call: cost for cost in self.journal.rows()}
        known |= {cost.call: cost for cost in self.answered}
        for cost in known.values():
            self.spent.add(cost)
        self._last_call = max(known, default=0)

    def reserve(self, *, tokens_in: int, tokens_out: int, money: float) -> Cost | None:
        """Grant one call of at most this cost.

        None if it does not fit: for now while other calls are open, which may turn out cheaper (see
        `change`), for good when `reached` names a limit.
        """
        wanted = Cost(
            call=self._last_call + 1,
            tokens_in=tokens_in,
            tokens_out=tokens_out,
            money=money,
            is_estimate=True,
        )
        exceeded = self._exceeded_by(wanted)
        if exceeded is not None:
            self.reached = None if self._open else exceeded
            return None
        self.journal.append(wanted)
        self._last_call = wanted.call
        self._open[wanted.call] = wanted
        return wanted

    async def change(self) -> None:
        """Wait until one of the open calls is over."""
        self._changed.clear()
        await self._changed.wait()

    def close(self, cost: Cost) -> None:
        """Count a call at what it did cost. The caller has recorded it, with an answer or by `waive`."""
        del self._open[cost.call]
        self.spent.add(cost)
        self._changed.set()

    def waive(self, reserved: Cost) -> None:
        """Count a call that cost nothing but itself, and write that down."""
        cost = Cost(call=reserved.call)
        try:
            self.journal.append(cost)
        finally:
            self.close(cost)

    def _exceeded_by(self, wanted: Cost) -> LimitName | None:
        total = Total(self.spent.calls, self.spent.tokens, self.spent.money)
        for cost in (*self._open.values(), wanted):
            total.add(cost)
        limits = self.limits
        if limits.calls is not None and total.calls > limits.calls:
            return "calls"
        if limits.tokens is not None and total.tokens > limits.tokens:
            return "tokens"
        if limits.money is not None and total.money > limits.money:
            return "money"
        return None
