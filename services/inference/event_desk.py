"""Where events come in: read off the event loop, on disk before they are answered for."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from pathlib import Path

import structlog
from prometheus_client import CollectorRegistry

from services.inference.event_intake import EventIntake, Intake, IntakeLimits
from services.inference.event_log import EventLog, FileLimits
from services.inference.event_metrics import EventMetrics, SinceBundle
from services.inference.exploration import Draw, Explorer, Slots
from services.inference.settings import InferenceSettings
from shared.contracts.events import EventsResponse
from shared.errors import Unavailable
from shared.events.privacy import Keyed, make_key

_log = structlog.get_logger()


class EventDesk:
    """Takes events in and hands out what they need. Open between `open` and `close`.

    Args:
        folder: of the event files.
        settings: of the service.
        trained_until: gives the moment up to which the served bundle knows the log; None without a bundle.
        registry: of the service.
    """

    def __init__(
        self,
        folder: Path,
        settings: InferenceSettings,
        trained_until: Callable[[], datetime | None],
        registry: CollectorRegistry,
    ) -> None:
        self._folder, self._settings = folder, settings
        self.metrics = EventMetrics(registry)
        registry.register(SinceBundle(folder, trained_until))
        self._explorer: Explorer | None = None
        self._slots: Slots | None = None
        self._intake: EventIntake | None = None
        self._log: EventLog | None = None
        self._reader = ThreadPoolExecutor(1, "event-reader")
        self._reason = "the event log is not open"

    @property
    def most(self) -> int:
        """Return how many events one request may bring."""
        return self._settings.max_events

    def open(self) -> None:
        """Mend and open the log; if the folder cannot be written the service answers queries without it."""
        settings = self._settings
        try:
            self._log = EventLog(
                self._folder,
                FileLimits(
                    bytes=settings.event_file_bytes,
                    open_seconds=settings.event_open_seconds,
                    waiting=settings.max_waiting_events,
                    reserve_bytes=settings.event_reserve_bytes,
                ),
                on_commit=self.metrics.committed,
            )
            keyed = make_key(self._folder)
        except OSError as error:
            self._reason = f"{self._folder}: events cannot be written ({error.strerror})"
            _log.warning("started_without_events", reason=self._reason)
            return
        self._set_up(keyed)

    async def take(self, body: bytes, *, is_ndjson: bool) -> EventsResponse:
        """Return the verdicts once all accepted events are on disk.

        Raises:
            InvalidInput: the body as a whole is at fault.
            Unavailable: nothing can be written now; all may be sent again.
        """
        if self._log is None or self._intake is None:
            raise Unavailable(self._reason)
        loop = asyncio.get_running_loop()
        intake = await loop.run_in_executor(
            self._reader, lambda intake: intake.read(body, is_ndjson=is_ndjson), self._intake
        )
        if intake.events:
            await asyncio.shield(asyncio.wrap_future(self._log.append(intake.events)))
        response = _response(intake)
        self.metrics.taken(response)
        return response

    def draw(self, query: str, k: int, request: str) -> Draw | None:
        """Return which places of an answer are drawn; None if none is, as mostly.

        Args:
            query: as the answer repeats it.
            k: of the answer.
            request: names the answer.
        """
        explorer, slots = self._explorer, self._slots
        places = explorer.places(k) if explorer else []
        if explorer is None or slots is None or not places:
            return None

        def _mark(ad: str, position: int, propensity: float) -> Mapping[str, object]:
            self.metrics.drawn.inc()
            slot = slots.seal(request, query, ad, position, propensity)
            return {"propensity": propensity, "slot": slot}

        return Draw(explorer, places, _mark)

    def close(self) -> None:
        """Write what waits and close the files."""
        self._reader.shutdown()
        if self._log is not None:
            self._log.close()

    def _set_up(self, keyed: Keyed) -> None:
        settings = self._settings
        limits = IntakeLimits(
            events=settings.max_events, age=timedelta(days=settings.event_max_age_days)
        )
        self._intake = EventIntake(keyed, limits)
        self._slots = Slots(keyed)
        if settings.explore_share:
            self._explorer = Explorer(
                settings.explore_share, settings.explore_pool, settings.explore_seed
            )


def _response(intake: Intake) -> EventsResponse:
    counts = Counter(verdict.status for verdict in intake.verdicts)
    return EventsResponse(
        accepted=counts["accepted"],
        duplicates=counts["duplicate"],
        rejected=counts["rejected"],
        verdicts=intake.verdicts,
    )
