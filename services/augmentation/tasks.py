"""Celery: the message "augment these documents", its retries and its time limits; nothing else.

Run a worker: `celery -A services.augmentation.tasks worker`.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

from celery import Celery, Task, signals
from celery.exceptions import OperationalError, Reject

from services.augmentation import task_context  # noqa: F401  (connects its signals)
from services.augmentation.augmenter import Augmenter
from services.augmentation.dispatcher import Dispatcher
from services.augmentation.settings import AugmentationSettings
from services.augmentation.worker_metrics import MeasuredTask, MetricsPage
from shared.clients import GenerationClient, MappingClient
from shared.errors import Unavailable
from shared.settings import CommonSettings
from shared.store import RedisStore, Store
from shared.telemetry import configure_logging

common, settings = CommonSettings(), AugmentationSettings()

LEASE_MARGIN_SECONDS = 10
LOST_WORKERS = 3
"""Times a message may cost a process its life and be tried again."""

app = Celery("augmentation", broker=common.redis_url, task_cls=MeasuredTask)
app.steps["worker"].add(MetricsPage)
app.conf.update(
    task_default_queue="augmentation",
    # A message is acknowledged when its work is done, so that a worker's death does not lose it ...
    task_acks_late=True,
    # ... and a message that kills its worker is tried LOST_WORKERS times more, not for ever. Only if that
    # cannot be written down does it go back as it is.
    task_retry_on_worker_lost=True,
    task_reject_on_worker_lost=True,
    task_soft_time_limit=settings.task_seconds * 9 // 10,
    task_time_limit=settings.task_seconds,
    broker_transport_options={
        # Redis gives an unacknowledged message to another worker after this long: twice the time limit,
        # so that it is never one that is being worked on.
        "visibility_timeout": 2 * settings.task_seconds + 60,
        "socket_keepalive": True,
        "health_check_interval": 30,
    },
    broker_connection_retry_on_startup=True,
    broker_connection_max_retries=None,
    task_ignore_result=True,  # the job's record is the result
    worker_concurrency=settings.workers,
    worker_prefetch_multiplier=1,
    worker_soft_shutdown_timeout=float(settings.task_seconds) / 10,
    worker_enable_remote_control=False,
    accept_content=["json"],
    task_serializer="json",
)


@app.task(
    name="augment_batch",
    autoretry_for=(Unavailable,),
    retry_kwargs={"max_retries": settings.retries},
    retry_backoff=2,
    retry_backoff_max=60,
    max_retries=LOST_WORKERS,
    default_retry_delay=5,
)
def augment_batch(job_id: str, document_ids: list[str]) -> None:
    """Augment documents of a job."""
    _augmenter().augment(job_id, document_ids)


@signals.task_failure.connect
def _give_up(
    sender: Task[..., Any], exception: BaseException, args: Sequence[Any], **_: object
) -> None:
    """Settle a batch whose last try failed. Runs in the main process if the worker's is dead."""
    if isinstance(exception, Reject):
        return  # the retry could not be queued: the sweeper will
    job_id, document_ids = args
    celery_dispatcher(_store()).give_up(job_id, document_ids, exception)


@signals.worker_init.connect
def _configure_logging(**_: object) -> None:
    configure_logging(common.log_level)


class CeleryQueue:
    """The workers' queue, which lives in Redis beside the jobs."""

    def enqueue(self, job_id: str, document_ids: Sequence[str]) -> None:
        """Leave one message."""
        try:
            augment_batch.delay(job_id, list(document_ids))
        except OperationalError as error:
            raise Unavailable("the queue of the augmentation workers does not answer") from error


def celery_dispatcher(store: Store) -> Dispatcher:
    """Return the dispatcher that queues for our workers."""
    return Dispatcher(
        store, CeleryQueue(), batch_size=settings.batch_size, seconds=settings.queue_seconds
    )


@cache
def _store() -> RedisStore:
    return RedisStore.at(common.redis_url, retries=20, timeout_seconds=10.0)


@cache
def _augmenter() -> Augmenter:
    """Build this process's augmenter; Celery tries again, so the clients try once."""
    timeout = common.request_timeout_seconds
    return Augmenter(
        _store(),
        GenerationClient(common.generation_url, timeout_seconds=timeout, attempts=1),
        MappingClient(common.mapping_url, timeout_seconds=timeout, attempts=1),
        lease_seconds=settings.task_seconds + LEASE_MARGIN_SECONDS,
    )
