"""Whether the index still finds what exact search finds: measured now and then, beside the requests."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import structlog

from services.mapping.metrics import MappingMetrics
from services.mapping.recall import beside, recall_above_tau
from services.mapping.serving import ServedMapping
from shared.errors import SkimError

_SAMPLE = 32
"""Texts looked from, each compared with all train queries."""
_log = structlog.get_logger()


async def watch(
    peek: Callable[[], ServedMapping | None], metrics: MappingMetrics, *, seconds: float
) -> None:
    """Measure at once and then after each pause, until cancelled.

    Args:
        peek: gives what is served now.
        metrics: take the result.
        seconds: between two looks.
    """
    round_number = 0
    while True:
        served = peek()
        if served is not None:
            try:
                await asyncio.to_thread(measure, served, metrics, seed=round_number)
            except SkimError as error:
                _log.warning("canary_failed", reason=str(error))
            round_number += 1
        await asyncio.sleep(seconds)


def measure(served: ServedMapping, metrics: MappingMetrics, *, seed: int = 0) -> None:
    """Set the gauges of the index.

    What was mapped last looks for its neighbours; until enough was, vectors between the train queries do, others with another
    seed.
    """
    index = served.mapper.index
    metrics.train_queries.set(len(index))
    metrics.index_version_seconds.set(index.version / 1e6)
    vectors = served.encoder.latest(_SAMPLE)
    if len(vectors) < _SAMPLE:
        vectors = beside(index.sample(_SAMPLE, seed), _SAMPLE)
    metrics.recall.set(recall_above_tau(index, vectors, k=served.mapper.rule.neighbours))
