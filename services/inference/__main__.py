"""Run the inference service: `python -m services.inference`."""

from __future__ import annotations

from functools import partial

from services.inference.app import build_app
from services.inference.event_desk import EventDesk
from services.inference.generations import Generations
from services.inference.live_ads import LiveAds, Upkeep
from services.inference.settings import InferenceSettings
from shared.bundle import trained_until
from shared.settings import CommonSettings
from shared.web import serve


def main() -> None:
    """Serve until told to stop."""
    common, settings = CommonSettings(), InferenceSettings()
    generations = Generations(common.bundles, partial(LiveAds, common.ads, upkeep_of(settings)))
    open_desk = partial(EventDesk, common.events, settings, partial(trained_until, common.bundles))
    app = build_app(settings, generations, open_desk=open_desk)
    serve(app, host=settings.host, port=settings.port, log_level=common.log_level)


def upkeep_of(settings: InferenceSettings) -> Upkeep:
    """Return what the settings say of upkeep."""
    return Upkeep(settings.recent_ads, settings.dead_positions, settings.journal_bytes)


if __name__ == "__main__":
    main()
