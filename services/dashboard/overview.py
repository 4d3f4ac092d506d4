"""What the first page shows, read from the services over HTTP."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from enum import StrEnum

from pydantic import Field

from services.dashboard.answers import Bundle, Bundles, Index, ReadCounts, ReadJob, ReadJobs
from services.dashboard.rate import Rate
from services.dashboard.suite import Suite, detail_of
from services.dashboard.traffic import WORK, Traffic, TrafficWindow, sample_of
from shared.contracts.base import Contract

SEEN_JOBS = 20
"""The newest; the oldest of them that is not over tells the age of the queue, where no metric does."""


class State(StrEnum):
    """How a service is. `waiting`: it answers, and says what it lacks."""

    READY = "ready"
    WAITING = "waiting"
    DOWN = "down"


class ServiceState(Contract):
    """One service as it answered now."""

    state: State
    reason: str = ""

    @property
    def is_ready(self) -> bool:
        """Whether it works now."""
        return self.state is State.READY


class Overview(Contract):
    """The suite as it is now. What could not be read is None."""

    services: dict[str, ServiceState]
    counts: ReadCounts | None
    documents_per_minute: float | None
    """Documents finished a minute, over the last minutes."""
    labels_per_minute: float | None = None
    queue_age_seconds: float | None = None
    """Since the oldest job with waiting documents was accepted; 0 if nothing waits."""
    jobs: list[ReadJob] | None
    """The newest first."""
    index: Index | None = None
    index_age_seconds: float | None = None
    """Since the train queries changed last."""
    bundle: Bundle | None
    bundle_age_seconds: float | None = None
    """Since the served bundle was made; None where the service does not tell."""
    traffic: dict[str, Traffic | None] = Field(default_factory=dict)


class Sampler:
    """Keeps what rates are computed from.

    Args:
        suite: is asked.
        window_seconds: of the past that rates are over.
        timeout_seconds: for one answer.
    """

    def __init__(self, suite: Suite, *, window_seconds: float, timeout_seconds: float) -> None:
        self._suite = suite
        self._timeout_seconds = timeout_seconds
        self.documents, self.labels = Rate(window_seconds), Rate(window_seconds)
        self.windows = {name: TrafficWindow(window_seconds) for name in WORK}

    async def sample(self) -> None:
        """Look once at counts and metrics; a service that does not answer is left out."""
        await asyncio.gather(self._count(), *(self._sample(name) for name in self.windows))

    async def _count(self) -> None:
        counts = await self._suite.read(
            ReadCounts, "augmentation", "/v1/counts", seconds=self._timeout_seconds
        )
        if counts.value is not None:
            now = time.monotonic()
            self.documents.add(now, counts.value.done)
            self.labels.add(now, counts.value.labels)

    async def _sample(self, name: str) -> None:
        response = await self._suite.ask(name, "/metrics", seconds=self._timeout_seconds)
        if response is None or not response.is_success:
            return
        try:
            sample = sample_of(name, response.text)
        except (ValueError, KeyError):  # not what metrics look like
            return
        self.windows[name].add(time.monotonic(), sample)


class SuiteReader:
    """Reads the overview, all services at the same time.

    Args:
        suite: is asked.
        sampler: tells rates.
        timeout_seconds: for one answer.
    """

    def __init__(self, suite: Suite, sampler: Sampler, *, timeout_seconds: float) -> None:
        self._suite = suite
        self._sampler = sampler
        self._timeout_seconds = timeout_seconds

    async def overview(self) -> Overview:
        """Read everything the page shows."""
        seconds = self._timeout_seconds
        read = self._suite.read
        states, counts, jobs, index, bundle, bundles = await asyncio.gather(
            asyncio.gather(*(self._state_of(name) for name in WORK)),
            read(ReadCounts, "augmentation", "/v1/counts", seconds=seconds),
            read(
                ReadJobs, "augmentation", "/v1/jobs", seconds=seconds, params={"limit": SEEN_JOBS}
            ),
            read(Index, "mapping", "/v1/info", seconds=seconds),
            read(Bundle, "inference", "/v1/info", seconds=seconds),
            read(Bundles, "inference", "/v1/bundles", seconds=seconds),
        )
        now = datetime.now(UTC)
        sampler = self._sampler
        return Overview(
            services=dict(zip(WORK, states, strict=True)),
            counts=counts.value,
            documents_per_minute=sampler.documents.per_minute(),
            labels_per_minute=sampler.labels.per_minute(),
            queue_age_seconds=self._queue_age(
                counts.value, jobs.value.jobs if jobs.value else (), now
            ),
            jobs=None if jobs.value is None else jobs.value.jobs,
            index=index.value,
            index_age_seconds=_index_age(index.value, now),
            bundle=bundle.value,
            bundle_age_seconds=_bundle_age(bundle.value, bundles.value, now),
            traffic={name: window.traffic() for name, window in sampler.windows.items()},
        )

    def _queue_age(
        self, counts: ReadCounts | None, jobs: Sequence[ReadJob], now: datetime
    ) -> float | None:
        if counts is None:
            return None
        if not counts.waiting:
            return 0.0
        told = self._sampler.windows["augmentation"].gauge("queue_age_seconds")
        if told is not None and math.isfinite(told):
            return told
        begun = [each.accepted_at for each in jobs if not each.is_over]
        return (now - min(begun)).total_seconds() if begun else None

    async def _state_of(self, name: str) -> ServiceState:
        response = await self._suite.ask(name, "/readyz", seconds=self._timeout_seconds)
        if response is None:
            return ServiceState(state=State.DOWN, reason=f"no answer at {self._suite.urls[name]}")
        if response.is_success:
            return ServiceState(state=State.READY)
        return ServiceState(state=State.WAITING, reason=detail_of(response))


def _index_age(index: Index | None, now: datetime) -> float | None:
    if index is None or not index.index_version:
        return None
    return max(now.timestamp() - index.index_version / 1e6, 0.0)


def _bundle_age(bundle: Bundle | None, bundles: Bundles | None, now: datetime) -> float | None:
    served = bundles.named(bundle.generation) if bundle and bundles else None
    return None if served is None else max((now - served.created_at).total_seconds(), 0.0)
