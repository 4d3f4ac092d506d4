"""Run the inference service: `python -m services.inference`."""

from __future__ import annotations

from functools import partial

from services.inference.app import build_app
from services.inference.event_desk import EventDesk
from services.inference.retriever import open_retriever
from services.inference.settings import InferenceSettings
from shared.bundle import trained_until
from shared.settings import CommonSettings
from shared.web import serve


def main() -> None:
    """Serve until told to stop."""
    common, settings = CommonSettings(), InferenceSettings()
    app = build_app(
        settings,
        partial(open_retriever, common.bundles),
        open_desk=partial(
            EventDesk, common.events, settings, partial(trained_until, common.bundles)
        ),
    )
    serve(app, host=settings.host, port=settings.port, log_level=common.log_level)


if __name__ == "__main__":
    main()
