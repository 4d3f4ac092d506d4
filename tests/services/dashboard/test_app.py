import asyncio
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest
from fastapi.testclient import TestClient

from services.dashboard.app import build_app
from services.dashboard.overview import Overview
from services.dashboard.settings import DashboardSettings
from shared.contracts.augmentation import Counts, Job, Jobs, JobState
from shared.contracts.inference import InferenceInfo
from shared.settings import CommonSettings

HOSTILE = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)>"
COUNTS = Counts(
    documents=9,
    labels=12_345,
    accepted=1_000,
    waiting=700,
    done=290,
    failed=10,
    dead_letters=8_765,
)
JOB = Job(
    id="job-1",
    state=JobState.RUNNING,
    accepted_at=datetime(2026, 11, 23, 9, 30, tzinfo=UTC),
    documents=40,
    done=10,
    failed=1,
    labels=77,
    errors={"mug": HOSTILE},
)
BUNDLE = InferenceInfo(
    generation="2026-11-23-a",
    ads=14_160,
    encoder="minilm-1",
    dimensions=384,
    index="flat",
    metrics={"recall@100": 0.6543},
)
READY = {"/readyz": httpx.Response(200, json={"status": "ready"})}
SUITE: dict[str, dict[str, httpx.Response]] = {
    "generation": READY,
    "mapping": {"/readyz": httpx.Response(503, json={"detail": f"no index yet {HOSTILE}"})},
    "augmentation": {
        **READY,
        "/v1/counts": httpx.Response(200, text=COUNTS.model_dump_json()),
        "/v1/jobs": httpx.Response(200, text=Jobs(jobs=[JOB]).model_dump_json()),
    },
    "inference": {**READY, "/v1/info": httpx.Response(200, text=BUNDLE.model_dump_json())},
}


def answer_from(
    suite: dict[str, dict[str, httpx.Response]],
) -> Callable[[httpx.Request], httpx.Response]:
    def answer(request: httpx.Request) -> httpx.Response:
        if request.url.host not in suite:
            raise httpx.ConnectError("refused")
        known = suite[request.url.host].get(request.url.path, httpx.Response(404))
        return httpx.Response(known.status_code, content=known.content)

    return answer


@contextmanager
def dashboard(answer: Callable[[httpx.Request], Any], **settings: float) -> Iterator[TestClient]:
    common = CommonSettings(**{f"{name}_url": f"http://{name}" for name in SUITE})  # type: ignore[arg-type]
    app = build_app(common, DashboardSettings(**settings), httpx.MockTransport(answer))  # type: ignore[arg-type]
    with TestClient(app) as client:
        yield client


@pytest.fixture
def client() -> Iterator[TestClient]:
    with dashboard(answer_from(SUITE)) as client:
        yield client


def overview_of(client: TestClient) -> Overview:
    return Overview.model_validate_json(client.get("/v1/overview").content)


def test_the_overview_holds_what_the_services_say(client: TestClient) -> None:
    overview = overview_of(client)

    assert {name: service.state for name, service in overview.services.items()} == {
        "generation": "ready",
        "mapping": "waiting",
        "augmentation": "ready",
        "inference": "ready",
    }
    assert overview.services["mapping"].reason.startswith("no index yet")
    assert (overview.counts, overview.jobs, overview.bundle) == (COUNTS, [JOB], BUNDLE)


def test_the_page_shows_counts_jobs_and_bundle(client: TestClient) -> None:
    page = client.get("/").text

    for shown in (
        "12,345",
        "8,765",
        "10 of 40, 1 failed",
        "job-1",
        "14,160",
        "recall@100",
        "0.6543",
    ):
        assert shown in page


def test_hostile_text_is_escaped(client: TestClient) -> None:
    page = client.get("/").text

    assert "<script" not in page
    assert "<img" not in page
    assert "&lt;script&gt;" in page


def test_the_page_forbids_scripts_and_foreign_content(client: TestClient) -> None:
    answer = client.get("/")

    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe-inline" not in policy
    assert not re.search(r"""(src|href)=["'](?!/static/)""", answer.text)
    assert not re.search(r"\sstyle=", answer.text)


def test_the_page_loads_itself_again(client: TestClient) -> None:
    assert '<meta http-equiv="refresh" content="5">' in client.get("/").text


def test_its_own_files_are_served(client: TestClient) -> None:
    linked = re.findall(r'href="(/static/[^"]+)"', client.get("/").text)

    assert len(linked) == 2
    assert all(client.get(path).status_code == 200 for path in linked)


def test_with_everything_down_the_page_says_so() -> None:
    with dashboard(answer_from({})) as client:
        overview = overview_of(client)
        page = client.get("/")

    assert {service.state for service in overview.services.values()} == {"down"}
    assert (overview.counts, overview.jobs, overview.bundle) == (None, None, None)
    assert page.status_code == 200
    assert "gives no counts now" in page.text


def test_a_service_that_never_answers_is_down_after_the_time_out() -> None:
    async def hang(request: httpx.Request) -> httpx.Response:
        await asyncio.Event().wait()
        raise AssertionError("unreachable")

    with dashboard(hang, timeout_seconds=0.05) as client:
        overview = overview_of(client)

    assert {service.state for service in overview.services.values()} == {"down"}


@pytest.mark.parametrize("body", [b"not json", b"{}", b"[]", b'"text"'])
def test_an_answer_that_makes_no_sense_counts_as_none(body: bytes) -> None:
    suite = {name: {"/readyz": httpx.Response(503, content=body)} for name in SUITE}
    suite["augmentation"]["/v1/counts"] = httpx.Response(200, content=body)
    suite["inference"]["/v1/info"] = httpx.Response(200, content=body)
    with dashboard(answer_from(suite)) as client:
        overview = overview_of(client)

    assert overview.services["mapping"].reason == "HTTP 503"
    assert (overview.counts, overview.bundle) == (None, None)


def test_the_rate_comes_from_counts_it_samples_itself() -> None:
    done = iter(range(0, 10**9, 10))

    def answer(request: httpx.Request) -> httpx.Response:
        if request.url.path != "/v1/counts":
            return httpx.Response(503)
        counts = COUNTS.model_copy(update={"done": next(done)})
        return httpx.Response(200, text=counts.model_dump_json())

    with dashboard(answer, sample_seconds=0.01) as client:
        rates = (overview_of(client).documents_per_minute for _ in range(1000))
        rate = next(rate for rate in rates if rate is not None)

    assert rate > 0
