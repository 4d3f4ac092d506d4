"""Two services under the same load, in turns; and whether they may be compared at all."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from loadtests import closed_loop, open_loop
from loadtests.peers.inference.protocol import MIN_RECALL, Catalogue, shares_found
from loadtests.peers.inference.rivals import Contender
from loadtests.peers.inference.serving import Served
from shared.errors import InvalidInput, Unavailable

CONNECTIONS = 16
OPEN_SHARE = 0.5
"""Of what the slower of two can carry: the rate at which both are asked in open loop."""
PERCENTILES = (50, 90, 95, 99)
LOADS = ("c1", "c16", "open")
_TRIAL_SECONDS = 2.0
_TICK = 1 / os.sysconf("SC_CLK_TCK")

Turn = dict[str, float]
"""`rps` and CPU a request, `cpu_ms`, at 16 connections, and `LOAD_pN`: percentiles of milliseconds."""


@dataclass(frozen=True)
class Seconds:
    """How long each load lasts."""

    c1: float
    c16: float
    open: float

    @classmethod
    def of_turn(cls, seconds: float) -> Seconds:
        """Divide a turn."""
        return cls(0.3 * seconds, 0.4 * seconds, 0.3 * seconds)


@dataclass
class Duel:
    """What two services did, a turn each after the other."""

    ours: list[Turn] = field(default_factory=list)
    theirs: list[Turn] = field(default_factory=list)
    errors: int = 0
    """Answers that were none, of either."""
    open_rate: float = 0.0
    generator_ms: float = 0.0
    """CPU that a request costs the generator itself."""

    def ratio(self, figure: str) -> float:
        """Return how many times better ours is: the median over the pairs of turns."""
        pairs = zip(self.ours, self.theirs, strict=True)
        ratios = [
            ours[figure] / theirs[figure] if figure == "rps" else theirs[figure] / ours[figure]
            for ours, theirs in pairs
        ]
        return round(statistics.median(ratios), 2)

    def slower(self) -> list[str]:
        """Return the loads and percentiles at which ours is slower."""
        figures = [f"{load}_p{percent}" for load in LOADS for percent in PERCENTILES]
        return [figure for figure in figures if self.ratio(figure) < 1]


def medians(turns: Sequence[Turn]) -> Turn:
    """Return the median of each figure."""
    return {
        figure: round(statistics.median(turn[figure] for turn in turns), 3) for figure in turns[0]
    }


def checked_recall(served: Served, catalogue: Catalogue, queries: Sequence[str]) -> float:
    """Return recall@10 against the exact scan, of what a service answers.

    Args:
        served: asked over HTTP.
        catalogue: its `judges` are the vectors of `queries`.
        queries: asked one after the other.

    Raises:
        InvalidInput: it is below `MIN_RECALL`: being faster by finding less is no comparison.
    """
    positions = {ad: position for position, ad in enumerate(catalogue.ids)}
    found = [[positions[ad] for ad in ads] for ads in served.top(queries)]
    recall = float(shares_found(catalogue.vectors, catalogue.judges, found).mean())
    if recall < MIN_RECALL:
        raise InvalidInput(
            f"{served.name}: recall@10 is {recall:.4f}, expected at least {MIN_RECALL}: not compared"
        )
    return round(recall, 4)


def trials(contender: Contender, queries: Sequence[str]) -> dict[str, float]:
    """Return the requests a second with each setting; none where there is nothing to choose."""
    rates: dict[str, float] = {}
    for setting in contender.settings if len(contender.settings) > 1 else ():
        with contender.start(setting) as served:
            requests = [served.request(query) for query in queries]
            for _ in ("warm-up", "trial"):
                load = closed_loop.run(
                    served.address, requests, connections=CONNECTIONS, seconds=_TRIAL_SECONDS
                )
        rates[setting] = round(load.requests_per_second, 1)
    return rates


def duel(
    ours: Served, theirs: Served, queries: Sequence[str], *, turns: int, seconds: Seconds
) -> Duel:
    """Let two services take turns under each load: ours, theirs, ours, theirs.

    Args:
        ours: warm.
        theirs: warm.
        queries: asked in this order, over and over.
        turns: of each.
        seconds: of one turn.

    Raises:
        Unavailable: one of them answered nothing under a load.
    """
    sides = (ours, theirs)
    requests = [[side.request(query) for query in queries] for side in sides]
    found, answers, started = Duel(), 0, time.process_time()
    for turn in range(turns):
        one = [
            closed_loop.run(side.address, own, connections=1, seconds=seconds.c1)
            for side, own in zip(sides, requests, strict=True)
        ]
        crowd, cpu_ms = [], []
        for side, own in zip(sides, requests, strict=True):
            before = side.cpu_seconds()
            crowd.append(
                closed_loop.run(side.address, own, connections=CONNECTIONS, seconds=seconds.c16)
            )
            worked = max(_TICK, side.cpu_seconds() - before)
            cpu_ms.append(1000 * worked / max(1, len(crowd[-1].latencies_ms)))
        rates = [load.requests_per_second for load in crowd]
        found.open_rate = found.open_rate or max(1.0, round(OPEN_SHARE * min(rates), 1))
        later = [
            open_loop.run(
                side.address, own, per_second=found.open_rate, seconds=seconds.open, seed=turn
            )
            for side, own in zip(sides, requests, strict=True)
        ]
        loads: list[closed_loop.Load | open_loop.OpenLoad] = [*one, *crowd, *later]
        found.errors += sum(load.errors for load in loads)
        found.errors += sum(len(load.refusals_ms) for load in later)
        answers += sum(len(load.latencies_ms) for load in loads)
        for place, (side, turns_of) in enumerate(
            zip(sides, (found.ours, found.theirs), strict=True)
        ):
            latencies = [load.latencies_ms for load in loads[place::2]]
            if not all(latencies):
                raise Unavailable(f"{side.name} answered nothing under one of {', '.join(LOADS)}")
            figures = _percentiles(dict(zip(LOADS, latencies, strict=True)))
            turns_of.append({"rps": rates[place], "cpu_ms": cpu_ms[place], **figures})
    found.generator_ms = round(1000 * (time.process_time() - started) / max(1, answers), 3)
    return found


def _percentiles(loads: Mapping[str, Sequence[float]]) -> Turn:
    return {
        f"{load}_p{percent}": float(np.percentile(latencies, percent))
        for load, latencies in loads.items()
        for percent in PERCENTILES
    }
