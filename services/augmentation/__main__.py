"""Run the augmentation service: `python -m services.augmentation`."""

from __future__ import annotations

from services.augmentation.app import build_app
from services.augmentation.settings import AugmentationSettings
from services.augmentation.tasks import ad_publisher, celery_dispatcher
from shared.settings import CommonSettings
from shared.store import RedisStore
from shared.web import serve


def main() -> None:
    """Serve until told to stop."""
    common, settings = CommonSettings(), AugmentationSettings()
    store = RedisStore.of_process("augmentation", common.redis_url)
    app = build_app(settings, store, celery_dispatcher(store), ad_publisher(store))
    serve(app, host=settings.host, port=settings.port, log_level=common.log_level)


if __name__ == "__main__":
    main()
