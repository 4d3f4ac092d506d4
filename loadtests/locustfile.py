"""Both user flows at once: `locust -f loadtests/locustfile.py --headless -u 20 -r 5 -t 60s`.

Name a class at the end of the command to run one flow alone: `AdsUser` or `DocumentsUser`.
The exit code is 1 when a limit was broken.
"""

from __future__ import annotations

import itertools
import time
import uuid
from argparse import ArgumentParser
from collections.abc import Iterator
from pathlib import Path

import gevent
from locust import FastHttpUser, between, events, task
from locust.env import Environment

from loadtests.limits import Limits, Observed, broken
from loadtests.queries import DEFAULT, ZipfMix, read_queries
from shared.contracts.augmentation import (
    FINAL_STATES,
    AcceptedJob,
    DocumentsRequest,
    Job,
    JobState,
)
from shared.contracts.document import Document
from shared.dataset import read_documents
from shared.settings import CommonSettings

_ADS = "/v1/ads"
_JOB_METHOD, _JOB = "JOB", "documents until labelled"

_POLL_SECONDS = 0.5
_QUERIES_DRAWN = 10_000
_KEY = CommonSettings().authorization


@events.init_command_line_parser.add_listener  # type: ignore[untyped-decorator]
def add_options(parser: ArgumentParser) -> None:
    """Declare where the services are, what is sent, and the limits."""
    common = CommonSettings()
    options: tuple[tuple[str, str | int | float, str], ...] = (
        ("--inference-url", common.inference_url, "Where ads are asked for (SKIM_INFERENCE_URL)."),
        ("--augmentation-url", common.augmentation_url, "Where documents are posted."),
        ("--queries", "", "A text file, one query a line, most popular first."),
        ("--zipf", 1.0, "How steeply popularity falls."),
        ("--documents", "", "A documents.jsonl to post from; invented ones if absent."),
        ("--documents-per-job", 4, "Documents in one post."),
        ("--job-timeout-seconds", 600.0, "A job that takes longer counts as failed."),
        ("--max-failed-percent", 0.0, "Limit: share of failed requests and jobs."),
        ("--max-ads-p99-ms", 100.0, "Limit: 99th percentile of asking for ads."),
        ("--max-job-p95-seconds", 600.0, "Limit: 95th percentile from post to last label."),
    )
    for name, default, meaning in options:
        parser.add_argument(name, type=type(default), default=default, help=meaning)


@events.init.add_listener  # type: ignore[untyped-decorator]
def set_the_clock(**_: object) -> None:
    """Begin the run time now: the event loop's clock still shows when it was imported, and seconds count from there."""
    gevent.get_hub().loop.update_now()


@events.quitting.add_listener  # type: ignore[untyped-decorator]
def judge(environment: Environment, **_: object) -> None:
    """Print each broken limit and make the exit code say so."""
    options = environment.parsed_options
    stats = environment.stats
    ads, jobs = stats.get(_ADS, "GET"), stats.get(_JOB, _JOB_METHOD)
    observed = Observed(
        requests=stats.total.num_requests,
        failed=stats.total.num_failures,
        ads_p99_ms=ads.get_response_time_percentile(0.99) if ads.num_requests else None,
        job_p95_seconds=(
            jobs.get_response_time_percentile(0.95) / 1000 if jobs.num_requests else None
        ),
    )
    flows = {each.__name__ for each in environment.user_classes}
    limits = Limits(
        failed_percent=options.max_failed_percent,
        ads_p99_ms=options.max_ads_p99_ms if AdsUser.__name__ in flows else None,
        job_p95_seconds=options.max_job_p95_seconds if DocumentsUser.__name__ in flows else None,
    )
    lines = broken(observed, limits)
    for line in lines:
        print(f"limit broken: {line}")
    environment.process_exit_code = int(bool(lines))


class AdsUser(FastHttpUser):  # type: ignore[misc]
    """Searches: a query of the mix every second or two."""

    default_headers = _KEY
    weight = 9
    wait_time = between(0.5, 2.0)

    def __init__(self, environment: Environment) -> None:
        options = environment.parsed_options
        self.host = options.inference_url
        super().__init__(environment)
        queries = read_queries(Path(options.queries)) if options.queries else DEFAULT
        mix = ZipfMix(queries, exponent=options.zipf, seed=uuid.uuid4().int)
        self._queries = itertools.cycle(mix.draw(_QUERIES_DRAWN))

    @task  # type: ignore[untyped-decorator]
    def ask(self) -> None:
        """Ask for the top ads; an answer without the bundle's name is a failure."""
        params = {"query": next(self._queries), "k": 10}
        with self.client.get(_ADS, params=params, name=_ADS, catch_response=True) as answer:
            if answer.status_code == 200 and not answer.json().get("generation"):
                answer.failure("the answer names no generation")


class DocumentsUser(FastHttpUser):  # type: ignore[misc]
    """Publishes: posts some documents and follows their job until it is finished."""

    default_headers = _KEY
    weight = 1
    wait_time = between(1.0, 5.0)

    def __init__(self, environment: Environment) -> None:
        self._options = environment.parsed_options
        self.host = self._options.augmentation_url
        super().__init__(environment)
        path = self._options.documents
        self._documents = itertools.cycle(read_documents(Path(path))) if path else _invented()

    @task  # type: ignore[untyped-decorator]
    def publish(self) -> None:
        """Post, follow, and report the time until the job was finished as one figure."""
        documents = list(itertools.islice(self._documents, self._options.documents_per_job))
        started = time.perf_counter()
        answer = self.client.post(
            "/v1/documents",
            data=DocumentsRequest(documents=documents).model_dump_json(),
            headers={"content-type": "application/json"},
        )
        if answer.status_code != 202:
            return
        job = self._followed(AcceptedJob.model_validate_json(answer.text), started)
        fine = job.state is JobState.DONE
        self.environment.events.request.fire(
            request_type=_JOB_METHOD,
            name=_JOB,
            response_time=(time.perf_counter() - started) * 1000,
            response_length=0,
            context={},
            exception=None if fine else RuntimeError(f"job ended {job.state}: {job.errors}"),
        )

    def _followed(self, job: Job, started: float) -> Job:
        """Return the job as it stands when it is finished or the time is up."""
        while job.state not in FINAL_STATES:
            if time.perf_counter() - started > self._options.job_timeout_seconds:
                return job
            time.sleep(_POLL_SECONDS)  # Locust makes it yield to the other users
            answer = self.client.get(f"/v1/jobs/{job.id}", name="/v1/jobs/[id]")
            if answer.status_code == 200:
                job = Job.model_validate_json(answer.text)
        return job


def _invented() -> Iterator[Document]:
    """Yield documents that no other user or run posts."""
    for thing in itertools.cycle(DEFAULT):
        yield Document(
            id=f"load-{uuid.uuid4().hex}",
            title=thing,
            text=f"{thing.capitalize()}, as one finds it in a shop.",
        )
