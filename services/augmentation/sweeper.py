"""Puts back on the queue what is in nobody's hands, and keeps labels current: `python -m services.augmentation.sweeper`."""

from __future__ import annotations

import signal
import threading

import structlog

from services.augmentation.augmenter import Generates
from services.augmentation.dispatcher import Dispatcher
from services.augmentation.follower import Follower
from services.augmentation.settings import AugmentationSettings
from services.augmentation.tasks import celery_dispatcher
from services.augmentation.uploads import tend_once
from shared import tracing
from shared.clients import GenerationClient, MappingClient
from shared.errors import SkimError, Unavailable
from shared.settings import CommonSettings
from shared.store import RedisStore, Store
from shared.telemetry import configure_logging

_PATIENCE_SECONDS = 10.0
"""With the mapping and the generation service: the sweeping waits for them."""
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


def note_generator_once(store: Store, generation: Generates) -> None:
    """Tell the store which generator serves, so that a new one finds no document unchanged."""
    try:
        store.note_generator(generation.info().generator)
    except (SkimError, ValueError) as error:
        _log.debug("generator_unknown", reason=str(error))


def main() -> None:
    """Look again and again, until told to stop."""
    common, settings = CommonSettings(), AugmentationSettings()
    configure_logging(common.log_level)
    stopping = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopping.set())
    tracing.start("sweeper", common.traces_endpoint)
    store = RedisStore.of_process("sweeper", common.redis_url)
    dispatcher = celery_dispatcher(store)
    with (
        MappingClient(
            common.mapping_url, timeout_seconds=_PATIENCE_SECONDS, attempts=1
        ) as mapping,
        GenerationClient(
            common.generation_url, timeout_seconds=_PATIENCE_SECONDS, attempts=1
        ) as generation,
    ):
        follower = Follower(store, mapping, dispatcher, window=settings.remap_documents)
        while not stopping.wait(settings.sweep_seconds):
            sweep_once(dispatcher, settings.sweep_documents)
            tend_once(store, dispatcher, queue_documents=settings.queue_documents)
            note_generator_once(store, generation)
            follow_once(follower)


if __name__ == "__main__":
    main()
