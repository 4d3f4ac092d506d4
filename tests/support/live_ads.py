"""Live ads in a folder, opened and closed as a process would."""

from __future__ import annotations

from pathlib import Path

from services.inference.live_ads import LiveAds, Upkeep
from services.inference.retriever import top
from tests.support.generations import ad, generation

BASE = [ad("red-wine"), ad("white-wine"), ad("fishing-boat"), ad("kitchen-knife")]


class Opened:
    """The ads of a folder, opened and closed as a process would."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._last: LiveAds | None = None

    def __call__(self, bundle: object = None, upkeep: Upkeep | None = None) -> LiveAds:
        if self._last is not None:
            self._last.close()
        self._last = LiveAds(self._folder, upkeep)
        self._last.serve(bundle or generation("v1", BASE))
        return self._last


def found(ads: LiveAds, query: str, k: int = 100) -> list[str]:
    assert ads.view is not None
    return [each["id"] for each in top(ads.view, query, k).ads]
