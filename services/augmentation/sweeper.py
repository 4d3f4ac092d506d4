"""Puts back on the queue what is in nobody's hands, and keeps labels current: `python -m services.augmentation.sweeper`."""

from __future__ import annotations

import signal
import threading

import structlog

from services.augmentation.dispatcher import Dispatcher
from services.augmentation.follower import Follower
from services.augmentation.settings import AugmentationSettings
from services.augmentation.tasks import celery_dispatcher
from shared import tracing
from shared.clients import MappingClient
from shared.errors import SkimError, Unavailable
from shared.settings import CommonSettings
from shared.store import RedisStore
from shared.telemetry import configure_logging

_PATIENCE_SECONDS = 10.0
"""With the mapping service: the sweeping waits for it."""
_log = structlog.get_logger()


def sweep_once(dispatcher: Dispatcher, limit: int) -> int:
    """Look once, and return how many documents were put back; none while Redis is away."""
    try:
        documents = dispatcher.sweep(limit)
    except Unavailable as error:
        _log.warning("sweep_failed", reason=str(error))
        return 0
    if documents:
        _log.info("documents_queued_again", documents=documents)
    return documents


def follow_once(follower: Follower) -> None:
    """Let labels follow as far as they can now; what stands in the way is logged and tried again."""
    try:
        follower.follow()
    except (SkimError, ValueError) as error:  # ValueError: an answer that is not our contract
        _log.warning("following_failed", reason=str(error))


def main() -> None:
    """Look again and again, until told to stop."""
    common, settings = CommonSettings(), AugmentationSettings()
    configure_logging(common.log_level)
    stopping = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopping.set())
    tracing.start("sweeper", common.traces_endpoint)
    store = RedisStore.at(common.redis_url)
    dispatcher = celery_dispatcher(store)
    with MappingClient(
        common.mapping_url, timeout_seconds=_PATIENCE_SECONDS, attempts=1
    ) as mapping:
        follower = Follower(store, mapping, dispatcher, window=settings.remap_documents)
        while not stopping.wait(settings.sweep_seconds):
            sweep_once(dispatcher, settings.sweep_documents)
            follow_once(follower)


if __name__ == "__main__":
    main()
