"""Whether the ads' index still finds what a scan finds: measured now and then, beside the requests."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import structlog
from numpy.typing import NDArray
from prometheus_client import CollectorRegistry, Gauge

from services.inference.generation import Segment
from services.inference.view import View
from shared.ad_index import AdIndex, Allowed, Found, IndexCard
from shared.errors import SkimError

_ADS = 10
_TOLERANCE = 1e-5
"""Graph and scan add up in another order."""
_REST = 9
"""Times as long as a query took nothing is done: a tenth of one core at most."""
_log = structlog.get_logger()


class RecallCanary:
    """Asks the bundle's canary queries of the index and of a scan, among the ads as they are now.

    Args:
        view: gives what is served; raises a `SkimError` where nothing is.
        registry: of the service.
    """

    def __init__(self, view: Callable[[], View], registry: CollectorRegistry) -> None:
        self._view = view
        self._recall = Gauge(
            "skim_inference_index_recall",
            "Canary: share of the 10 best ads of a scan that the index finds, of the bundle's canary queries.",
            registry=registry,
        )
        self._recall.set(math.nan)  # not measured yet, which no alert may take for bad

    async def watch(self, *, seconds: float) -> None:
        """Measure at once and then after each pause, until cancelled."""
        while True:
            try:
                recall = await self._measured()
            except (SkimError, RuntimeError, MemoryError) as error:
                recall = math.nan
                _log.warning("canary_failed", reason=str(error))
            self._recall.set(recall)
            await asyncio.sleep(seconds)

    async def _measured(self) -> float:
        queries = [canary.query for canary in self._view().generation.canaries]
        shares = []
        for query in queries:
            begun = time.perf_counter()
            shares.append(await asyncio.to_thread(self._ask, query))
            await asyncio.sleep(_REST * (time.perf_counter() - begun))
        return sum(shares) / len(shares) if shares else math.nan

    def _ask(self, query: str) -> float:
        view = self._view()
        return recall_of(view, view.generation.encoder.encode([query])[0])


def recall_of(view: View, vector: NDArray[np.float32], k: int = _ADS) -> float:
    """Return the share of the `k` best live ads that a search finds; ads of equal score may stand for each other.

    Args:
        view: of the ads.
        vector: (dimensions,) float32.
        k: at least 1.
    """
    best, _ = _scanned(view).search(vector, k)
    if not len(best):
        return 1.0
    found, _ = view.search(vector, k)
    return int(np.count_nonzero(found >= best[-1] - _TOLERANCE * abs(best[-1]))) / len(best)


def _scanned(view: View) -> View:
    """Return the same ads, all of which are compared at each search."""
    generation, extra = view.generation, view.extra
    return replace(
        view,
        generation=replace(generation, base=_scan_of(generation.base)),
        extra=None if extra is None else _scan_of(extra),
    )


def _scan_of(segment: Segment) -> Segment:
    return replace(segment, index=_Scan(segment.index))


@dataclass(frozen=True)
class _Scan:
    """An `AdIndex` that approximates nothing."""

    index: AdIndex

    @property
    def card(self) -> IndexCard:
        return self.index.card

    @property
    def dimensions(self) -> int:
        return self.index.dimensions

    def __len__(self) -> int:
        return len(self.index)

    def search(
        self, queries: NDArray[np.float32], k: int, allowed: Allowed | None = None
    ) -> Found:
        return self.index.search_exactly(queries, k, allowed)

    search_exactly = search

    def vector(self, position: int) -> NDArray[np.float32]:
        return self.index.vector(position)
