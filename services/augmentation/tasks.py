"""Celery: the message "augment these documents", its retries and its time limits; nothing else.

Run a worker: `celery -A services.augmentation.tasks worker`.
"""

from __future__ import annotations

import resource
from collections.abc import Sequence
from contextlib import suppress
from functools import cache
from typing import Any

import structlog
from celery import Celery, Task, signals
from celery.exceptions import OperationalError, TimeLimitExceeded, WorkerLostError

from services.augmentation import task_context  # noqa: F401  (connects its signals)
from services.augmentation.ads import AdPublisher
from services.augmentation.augmenter import PAUSE_SECONDS, Augmenter, reason_of
from services.augmentation.dispatcher import Dispatcher
from services.augmentation.settings import AugmentationSettings
from services.augmentation.worker import Worker
from services.augmentation.worker_metrics import MeasuredTask, WorkerPage
from shared.circuit_breaker import CircuitBreaker
from shared.clients import GenerationClient, InferenceClient, MappingClient
from shared.errors import SkimError, Unavailable
from shared.retry_budget import RetryBudget
from shared.settings import CommonSettings
from shared.store import MAX_TRIES, RedisStore, Store
from shared.store.address import RedisAddress
from shared.telemetry import configure_logging

common, settings = CommonSettings(), AugmentationSettings()

QUEUE = "augmentation"
VISIBILITY_TIMEOUT = 2 * settings.task_seconds + 60
"""Redis gives an unacknowledged message to another worker after so many seconds: more than twice the time
limit, so that it is never one that is being worked on."""
_CALLS = 2
"""Of one request to a service, before the worker waits."""
_log = structlog.get_logger()

_broker, _broker_options = RedisAddress.of(common.redis_url).broker
app = Celery("augmentation", broker=_broker, task_cls=MeasuredTask)
app.steps["worker"].add(WorkerPage)
app.conf.update(
    task_default_queue=QUEUE,
    # A message is acknowledged when its work is done, so that a worker's death does not lose it. Who died over
    # what is counted in the store; Celery only brings the message back, and for a message that kills not for ever.
    task_acks_late=True,
    task_retry_on_worker_lost=True,
    task_reject_on_worker_lost=True,
    task_soft_time_limit=settings.task_seconds * 9 // 10,
    task_time_limit=settings.task_seconds,
    visibility_timeout=VISIBILITY_TIMEOUT,
    broker_transport_options={
        "visibility_timeout": VISIBILITY_TIMEOUT,
        "socket_keepalive": True,
        "health_check_interval": 30,
        **_broker_options,
    },
    result_backend_transport_options={"visibility_timeout": VISIBILITY_TIMEOUT},
    broker_connection_retry_on_startup=True,
    broker_connection_max_retries=None,
    task_ignore_result=True,  # the job's record is the result
    worker_pool="prefork",
    worker_concurrency=settings.workers,
    worker_prefetch_multiplier=1,
    worker_max_memory_per_child=settings.memory_mb * 1024,
    worker_soft_shutdown_timeout=float(settings.task_seconds) / 10,
    worker_enable_remote_control=False,
    accept_content=["json"],
    result_accept_content=["json"],
    task_serializer="json",
    result_serializer="json",
    event_serializer="json",
)


@app.task(
    name="augment_batch", bind=True, max_retries=MAX_TRIES, default_retry_delay=PAUSE_SECONDS
)
def augment_batch(self: Task[..., Any], job_id: str, document_ids: list[str]) -> None:
    """Augment documents of a job."""
    with suppress(Unavailable):  # the queue is away as well: the sweeper will see to it
        _worker().work(job_id, document_ids, self.request.id or "")


@signals.task_retry.connect
def _note_death(request: Any, reason: Any, **_: object) -> None:  # noqa: ANN401  (Celery's own)
    """Note of a worker's process that died what it had in hands; runs in the main process."""
    _note(request.id, request.args, f"the worker's process died over it: {reason.exc}")


@signals.task_failure.connect
def _note_end(task_id: str, exception: BaseException, args: Sequence[Any], **_: object) -> None:
    """Note the same where Celery does not try again: out of time, or out of tries."""
    if isinstance(exception, TimeLimitExceeded):
        reason = f"it was not done in {settings.task_seconds} seconds, and only its end stopped it"
    elif isinstance(exception, WorkerLostError):
        reason = f"the worker's process died over it: {exception}"
    else:
        reason = reason_of(exception)
    _note(task_id, args, reason)


def _note(task_id: str, args: Sequence[Any], reason: str) -> None:
    job_id, document_ids = args
    _log.warning("worker_lost", job=job_id, documents=len(document_ids), reason=reason)
    with suppress(SkimError):  # then the lease runs out, and the try counts all the same
        _store_of_main().blame(job_id, document_ids, task_id, PAUSE_SECONDS, reason)


@signals.worker_init.connect
def _begin(**_: object) -> None:
    configure_logging(common.log_level)
    RedisStore.of_process("worker", common.redis_url)


@signals.worker_process_init.connect
def _bound_memory(**_: object) -> None:
    """Have a process that wants far too much get a `MemoryError` for it, before the machine runs out."""
    most = 2 * settings.memory_mb * 1024 * 1024
    allowed = resource.getrlimit(resource.RLIMIT_DATA)[1]
    if allowed == resource.RLIM_INFINITY or most < allowed:
        resource.setrlimit(resource.RLIMIT_DATA, (most, allowed))


class CeleryQueue:
    """The workers' queue, which lives in Redis beside the jobs."""

    def enqueue(self, job_id: str, document_ids: Sequence[str]) -> None:
        """Leave one message."""
        try:
            augment_batch.delay(job_id, list(document_ids))
        except OperationalError as error:
            raise _no_answer() from error

    def waiting(self) -> int:
        """Return how many messages no worker has taken yet."""
        with app.connection_for_read() as connection:
            broken: Any = (*connection.connection_errors, *connection.channel_errors)
            try:
                channel: Any = connection.default_channel
                return int(channel.queue_declare(queue=QUEUE).message_count)
            except broken as error:
                raise _no_answer() from error


def _no_answer() -> Unavailable:
    return Unavailable("the queue of the augmentation workers does not answer")


def celery_dispatcher(store: Store) -> Dispatcher:
    """Return the dispatcher that queues for our workers."""
    return Dispatcher(
        store,
        CeleryQueue(),
        batch_size=settings.batch_size,
        seconds=settings.queue_seconds,
        longest_seconds=settings.lease_seconds,
    )


@cache
def _store_of_main() -> RedisStore:
    return RedisStore.at(common.redis_url)


@cache
def _worker() -> Worker:
    """Build this process's worker."""
    store = RedisStore.at(common.redis_url, retries=20, timeout_seconds=10.0)
    seconds = common.request_timeout_seconds
    budget = RetryBudget()
    augmenter = Augmenter(
        store,
        GenerationClient(
            common.generation_url,
            timeout_seconds=seconds,
            attempts=_CALLS,
            is_wary=True,
            breaker=CircuitBreaker("generation"),
            budget=budget,
        ),
        MappingClient(
            common.mapping_url,
            timeout_seconds=seconds,
            attempts=_CALLS,
            is_wary=True,
            breaker=CircuitBreaker("mapping"),
            budget=budget,
        ),
        lease_seconds=settings.lease_seconds,
        ads=ad_publisher(store, budget),
    )
    return Worker(augmenter, celery_dispatcher(store), patience_seconds=settings.task_seconds / 5)


def ad_publisher(store: Store, budget: RetryBudget | None = None) -> AdPublisher | None:
    """Return what makes ads of documents, None if nobody does: where queries have the metadata, they are no ads."""
    if settings.ads_url is None or common.metadata_side == "query":
        return None
    client = InferenceClient(
        settings.ads_url,
        timeout_seconds=common.request_timeout_seconds,
        attempts=_CALLS,
        breaker=CircuitBreaker("inference"),
        budget=budget,
    )
    return AdPublisher(store, client)
