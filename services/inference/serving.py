"""What the routes of a running service share."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TypeVar

import structlog
from prometheus_client import CollectorRegistry, Counter, Gauge

from services.inference.admission import Admission
from services.inference.answer_cache import AnswerCache
from services.inference.generations import Generations
from services.inference.live_ads import LiveAds
from services.inference.metrics import BundleCollector, ServedBundle
from services.inference.niceness import let_the_event_loop_go_first
from services.inference.settings import InferenceSettings
from shared.errors import SkimError
from shared.pool import BoundedPool
from shared.telemetry import StageMetrics

_Result = TypeVar("_Result")
_log = structlog.get_logger()


class Serving:
    """Answers, changes and what they are counted by.

    Args:
        settings: of the service.
        generations: what is served.
        registry: of the service's metrics.
    """

    def __init__(
        self, settings: InferenceSettings, generations: Generations, registry: CollectorRegistry
    ) -> None:
        self.settings, self.generations = settings, generations
        self.admission = Admission(
            threads=settings.threads,
            max_waiting=settings.max_waiting,
            together=settings.together,
        )
        self.cache = AnswerCache(settings.cache_bytes)
        self.stages = StageMetrics("inference", registry)
        self.answers = Counter(
            "skim_inference_answers",
            "Answers by where they came from: search, or cache.",
            ["source"],
            registry=registry,
        )
        self.searched, self.cached = (self.answers.labels(each) for each in ("search", "cache"))
        refusals = Counter(
            "skim_inference_refusals",
            "Queries that were not answered: full (or late), or left (the client did).",
            ["reason"],
            registry=registry,
        )
        self.refused_full, self.refused_left = map(refusals.labels, ("full", "left"))
        waiting = Gauge("skim_inference_waiting", "Queries that wait.", registry=registry)
        waiting.set_function(lambda: self.admission.waiting)
        ads = Gauge("skim_inference_ads", "Ads that are served.", registry=registry)
        ads.set_function(lambda: self._told(lambda each: each.view.live if each.view else 0))
        cold = Gauge(
            "skim_inference_cold_start_ads",
            "Ads whose content no training has seen.",
            registry=registry,
        )
        cold.set_function(lambda: self._told(lambda each: each.changed[1]))
        registry.register(BundleCollector(self._bundle))
        self._changes = BoundedPool(
            threads=1,
            max_waiting=settings.waiting_changes,
            initializer=let_the_event_loop_go_first,
        )
        self._upkeep: asyncio.Task[None] | None = None

    async def change(self, change: Callable[[LiveAds], _Result]) -> _Result:
        """Return what a change of the ads returns, and see to upkeep afterwards."""
        ads = self.generations.ads
        changed = await self._changes.run(change, ads)
        if ads.needs_upkeep and (self._upkeep is None or self._upkeep.done()):
            self._upkeep = asyncio.create_task(asyncio.to_thread(_keep_up, ads))
        return changed

    def close(self) -> None:
        """Finish what runs."""
        self.admission.close()
        self._changes.close()
        self.generations.close()

    def _bundle(self) -> ServedBundle | None:
        try:
            generation = self.generations.view().generation
        except SkimError:  # nothing is served
            return None
        card = generation.base.index.card
        return ServedBundle(generation.name, generation.encoder.name, card.kind)

    def _told(self, ask: Callable[[LiveAds], int]) -> int:
        try:
            return ask(self.generations.ads)
        except SkimError:  # nothing is served
            return 0


def _keep_up(ads: LiveAds) -> None:
    try:
        ads.keep_up()
    except (SkimError, OSError, RuntimeError, MemoryError):
        # The ads are served as they are; the next change tries again.
        _log.exception("upkeep_failed")
