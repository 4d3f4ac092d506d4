"""Which bundle answers: verify, load, ask its canaries, warm up, point to it, switch; and let go of the old one off the path."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import structlog

from services.inference.generation import Generation, open_generation
from services.inference.live_ads import LiveAds
from services.inference.view import View
from shared.bundle import activate, current, folder_of, previous, versions
from shared.contracts.inference import Bundles, BundleSummary
from shared.errors import Damaged, NotFound, SkimError, Starting, Unavailable

_LOOK_SECONDS, _PATIENCE_SECONDS = 0.05, 5.0
_log = structlog.get_logger()


class Generations:
    """Holds what is served. A request takes `view` once and keeps it to its end.

    Args:
        bundles: folder of all bundles.
        open_ads: opens the ads that were changed, whatever the bundle.
        open_bundle: opens, verifies and warms a bundle beside the one that is served; runs in a thread.
    """

    def __init__(
        self,
        bundles: Path,
        open_ads: Callable[[], LiveAds],
        open_bundle: Callable[[Path, Generation | None], Generation] = open_generation,
    ) -> None:
        self._bundles, self._open_ads, self._open_bundle = bundles, open_ads, open_bundle
        self._ads: LiveAds | None = None
        self._reason = "still loading"
        self._error: type[Unavailable] = Starting
        self._switching = asyncio.Lock()
        self._freeing: set[asyncio.Task[None]] = set()

    @property
    def ads(self) -> LiveAds:
        """Return the ads, to be changed, also before a bundle is served; raises as `view`."""
        if self._ads is None:
            raise self._error(self._reason)
        return self._ads

    def view(self) -> View:
        """Return what answers now.

        Raises:
            Starting: the first load is not over.
            Unavailable: nothing could be loaded so far; the message says why.
        """
        view = None if self._ads is None else self._ads.view
        if view is None:
            raise self._error(self._reason)
        return view

    async def start(self) -> None:
        """Serve what is current; on an error the service starts without, and `view` says why."""
        try:
            await self.reload()
        except SkimError as error:
            _log.warning("started_with_nothing_to_serve", reason=str(error))

    async def reload(self) -> View:
        """Serve the bundle that is `current`; on any error what is served stays and the caller hears."""
        return await self._switch(lambda: current(self._bundles))

    async def activate(self, version: str) -> View:
        """Serve a bundle, and make it `current` once it is found to be whole; errors as `reload`."""
        return await self._switch(lambda: folder_of(self._bundles, version), points=True)

    async def rollback(self) -> View:
        """Serve the bundle that was served before this one; errors as `reload`."""
        return await self._switch(
            lambda: folder_of(self._bundles, previous(self._bundles)), points=True
        )

    def bundles(self) -> Bundles:
        """Return the bundles there are."""
        before, served = None, None
        with suppress(NotFound, Damaged):
            before = previous(self._bundles)
        with suppress(Unavailable):
            served = self.view().generation.name
        return Bundles(
            served=served,
            previous=before,
            bundles=[
                BundleSummary(
                    version=each.version,
                    created_at=each.created_at,
                    format_version=each.format_version,
                    ads=each.counts.ads,
                    encoder=each.encoder,
                    metrics=each.metrics,
                    is_served=each.version == served,
                )
                for each in versions(self._bundles)
            ],
        )

    def close(self) -> None:
        """Let go of the journal."""
        if self._ads is not None:
            self._ads.close()

    async def _switch(self, find: Callable[[], Path], *, points: bool = False) -> View:
        async with self._switching:
            before = None if self._ads is None else self._ads.view
            try:
                view = await asyncio.to_thread(self._load, find, points=points)
            except SkimError as error:
                self._reason, self._error = str(error), Unavailable
                raise
            if before is not None:
                task = asyncio.create_task(asyncio.to_thread(_free, [before]))
                self._freeing.add(task)
                task.add_done_callback(self._freeing.discard)
            _log.info("bundle_served", bundle=view.generation.name, ads=view.live)
            return view

    def _load(self, find: Callable[[], Path], *, points: bool) -> View:
        if self._ads is None:
            self._ads = self._open_ads()
        folder = find()
        served = self._ads.view
        generation = self._open_bundle(folder, None if served is None else served.generation)
        if points:
            try:
                activate(self._bundles, folder.name)
            except OSError as error:
                raise Unavailable(
                    f"{self._bundles}: cannot be written ({error.strerror})"
                ) from error
        return self._ads.serve(generation)


def _free(held: list[View]) -> None:
    """Be the last to hold a view, so that no request pays for taking it apart."""
    view = held.pop()
    ends = time.monotonic() + _PATIENCE_SECONDS
    while sys.getrefcount(view) > 2 and time.monotonic() < ends:
        time.sleep(_LOOK_SECONDS)
