"""What goes with a task: the request id and the trace of whoever posted its documents; and how it fared, in the log.

Importing it connects Celery's signals. The job's id is in the message anyway.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import structlog
from celery import Task, signals

from shared import tracing
from shared.errors import SkimError
from shared.settings import CommonSettings

_CARRIED = (tracing.REQUEST_ID, "traceparent", "tracestate")
_log = structlog.get_logger()


@dataclass(frozen=True)
class _Task:
    stack: ExitStack
    span: tracing.Spanned
    documents: int
    began: float


_under_way: dict[str, _Task] = {}


@signals.setup_logging.connect
def _keep_our_logging(**_: object) -> None:
    """Leave logging to `configure_logging`: Celery sets up its own only where nobody answers this."""


@signals.before_task_publish.connect
def carry(headers: dict[str, Any], body: Any, **_: object) -> None:  # noqa: ANN401  (Celery's own)
    """Put the context of who queues a message into it."""
    headers.update(tracing.outgoing())
    job_id, document_ids = body[0]
    _log.info("batch_queued", job=job_id, documents=len(document_ids), task=headers["id"])


@signals.task_prerun.connect
def begin(task_id: str, task: Task[Any, Any], args: Sequence[Any], **_: object) -> None:
    """Continue that context while the task runs."""
    carried = {name: task.request.get(name) for name in _CARRIED}
    given = {name: str(value) for name, value in carried.items() if value}
    job_id, document_ids = args
    known = {"job": job_id, "task": task_id}
    if tracing.REQUEST_ID in given:
        known["request_id"] = given[tracing.REQUEST_ID]
    stack = ExitStack()
    stack.enter_context(structlog.contextvars.bound_contextvars(**known))
    count = len(document_ids)
    names = {"skim__job_id": job_id, "skim__documents": count}
    span = tracing.span(str(task.name), "CONSUMER", parent=given, **names)
    _under_way[task_id] = _Task(stack, stack.enter_context(span), count, time.perf_counter())


@signals.task_postrun.connect
def end(task_id: str, state: str | None, retval: object, **_: object) -> None:
    """Say how it fared, and leave its context."""
    task = _under_way.pop(task_id, None)
    if task is None:
        return
    with task.stack:
        task.span.tell(skim__state=str(state))
        if state == "FAILURE":
            task.span.fail(state)
        seconds = round(time.perf_counter() - task.began, 3)
        why = {"reason": _reason_of(retval)} if isinstance(retval, BaseException) else {}
        _log.info("batch_ended", documents=task.documents, state=state, seconds=seconds, **why)


def _reason_of(error: BaseException) -> str:
    """Return why a task did not succeed; the words of an error that is not ours may quote a document."""
    cause = getattr(error, "exc", None) or error
    return str(cause) if isinstance(cause, SkimError) else type(cause).__name__


@signals.worker_process_init.connect
def _start_tracing(**_: object) -> None:
    tracing.start("worker", CommonSettings().traces_endpoint)  # a fork has no sending thread


@signals.worker_process_shutdown.connect
def _stop_tracing(**_: object) -> None:
    tracing.stop()
