"""What a worker's main process counts, and the page that shows it and says whether it lives: a bootstep of Celery.

Celery's events would cost a message a task and an exporter beside the worker; here the main process, which
hears of every end of a task anyway, counts it.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable
from socketserver import ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

import structlog
from celery import bootsteps
from celery.app.task import Task
from celery.worker.request import Request
from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    make_wsgi_app,
)

from services.augmentation.liveness import Liveness
from services.augmentation.settings import AugmentationSettings
from shared.settings import CommonSettings
from shared.store import RedisStore

_SECONDS = (0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0)
_ROUND_SECONDS = 1.0
_log = structlog.get_logger()


class WorkerMetrics:
    """Tasks by what became of them, and how long they took.

    Args:
        registry: that the page shows.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        ProcessCollector(registry=registry)
        self.registry = registry
        self.processes = Gauge(
            "skim_worker_processes", "Tasks that can run at the same time.", registry=registry
        )
        self.running = Gauge("skim_worker_tasks_running", "Tasks that run.", registry=registry)
        self.tasks = Counter(
            "skim_worker_tasks", "Tasks, by what became of them.", ["outcome"], registry=registry
        )
        self.seconds = Histogram(
            "skim_worker_task_seconds",
            "From a task's start to its end.",
            ["outcome"],
            buckets=_SECONDS,
            registry=registry,
        )
        self.silent = Gauge(
            "skim_worker_silent_seconds",
            "Since the main loop made its last round.",
            registry=registry,
        )

    def ended(self, outcome: str, started: float | None) -> None:
        """Count a task; `started` is Unix time, None if it never began."""
        self.tasks.labels(outcome).inc()
        if started is not None:
            self.running.dec()
            self.seconds.labels(outcome).observe(max(time.time() - started, 0.0))


METRICS = WorkerMetrics(CollectorRegistry())
"""Of this process; only a worker's main process counts anything."""


class MeasuredRequest(Request):
    """A task as the main process sees it, from its acceptance to its acknowledgement."""

    outcome = "succeeded"

    def on_accepted(self, pid: Any, time_accepted: float) -> None:  # noqa: ANN401
        """Hear that a process works on it."""
        METRICS.running.inc()
        super().on_accepted(pid, time_accepted)

    def on_timeout(self, soft: bool, timeout: float) -> None:
        """Hear that its time is up."""
        if not soft:
            self.outcome = "timed_out"
        super().on_timeout(soft, timeout)

    def on_retry(self, exc_info: Any) -> None:  # noqa: ANN401  (Celery's own)
        """Hear that it will be tried again."""
        self.outcome = "retried"
        super().on_retry(exc_info)

    def on_failure(self, exc_info: Any, *args: Any, **options: Any) -> Any:  # noqa: ANN401
        """Hear that it raised, or that its process died."""
        if self.outcome == "succeeded":
            self.outcome = "failed"
        return super().on_failure(exc_info, *args, **options)

    def acknowledge(self) -> None:
        """Count it: with late acknowledgement this is its end."""
        self._count(self.outcome)
        super().acknowledge()

    def reject(self, requeue: bool = False) -> None:
        """Count it as given back to the queue, or as refused."""
        self._count("requeued" if requeue else "rejected")
        super().reject(requeue)

    def _count(self, outcome: str) -> None:
        if not self.acknowledged:
            METRICS.ended(outcome, self.time_start)


class MeasuredTask(Task):  # type: ignore[type-arg]
    """A task whose requests are counted."""

    abstract = True
    Request = f"{MeasuredRequest.__module__}:{MeasuredRequest.__name__}"


class WorkerPage(bootsteps.StartStopStep):
    """Serves the worker's `/metrics` and `/livez`; a port that is taken costs a warning, not the worker."""

    requires = ("celery.worker.components:Pool", "celery.worker.components:Timer")

    def __init__(self, worker: Any, **options: Any) -> None:  # noqa: ANN401
        super().__init__(worker, **options)
        self._server: WSGIServer | None = None

    def start(self, parent: Any) -> None:  # noqa: ANN401
        """Open the page."""
        settings = AugmentationSettings()
        METRICS.processes.set(parent.concurrency or 0)
        if not settings.metrics_port:
            return
        store = RedisStore.at(CommonSettings().redis_url, retries=0, timeout_seconds=1.0)
        liveness = Liveness(store.check, seconds=settings.worker_silent_seconds)
        METRICS.silent.set_function(liveness.silent_seconds)
        parent.timer.call_repeatedly(_ROUND_SECONDS, liveness.turn)
        host, port = settings.metrics_host, settings.metrics_port
        try:
            self._server = make_server(
                host, port, page(METRICS.registry, liveness), _Threaded, _Quiet
            )
        except OSError as error:
            _log.warning("no_worker_metrics", host=host, port=port, reason=str(error))
            return
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def stop(self, parent: Any) -> None:  # noqa: ANN401
        """Close it."""
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None

    def terminate(self, parent: Any) -> None:  # noqa: ANN401
        """Close it at once."""
        self.stop(parent)


def page(registry: CollectorRegistry, liveness: Liveness) -> WSGIApplication:
    """Return what answers: `/livez`, 503 if the worker hangs, and the metrics everywhere else."""
    metrics: WSGIApplication = make_wsgi_app(registry)

    def answer(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        if environ["PATH_INFO"] != "/livez":
            return metrics(environ, start_response)
        why_not = liveness.why_not()
        status = "503 Service Unavailable" if why_not else "200 OK"
        start_response(status, [("Content-Type", "text/plain; charset=utf-8")])
        return [f"{why_not or 'ok'}\n".encode()]

    return answer


class _Threaded(ThreadingMixIn, WSGIServer):
    daemon_threads = True


class _Quiet(WSGIRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        """Leave requests for the page out of the log."""
