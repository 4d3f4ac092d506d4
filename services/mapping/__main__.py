"""Run the mapping service: `python -m services.mapping`."""

from __future__ import annotations

from functools import partial

from services.mapping.app import build_app
from services.mapping.serving import open_mapping
from services.mapping.settings import MappingSettings
from shared.settings import CommonSettings
from shared.web import serve


def main() -> None:
    """Serve until told to stop."""
    common, settings = CommonSettings(), MappingSettings()
    app = build_app(settings, partial(open_mapping, common.models, common.mapping, settings))
    serve(app, host=settings.host, port=settings.port, log_level=common.log_level)


if __name__ == "__main__":
    main()
