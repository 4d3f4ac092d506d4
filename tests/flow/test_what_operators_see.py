"""The dashboard over the real services: what its pages read is what these answer."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from fastapi.testclient import TestClient

from services.dashboard.app import build_app
from services.dashboard.settings import DashboardSettings
from services.generation.generator import QueryGenerator
from shared.clients import ServiceClient
from shared.contracts.reviews import ReviewVerdict
from shared.dataset import Dataset
from tests.support.chain import UNSEEN_WORDING, WRITTEN, Suite, home_with, running

ORIGIN = "http://testserver"


@pytest.fixture
def suite(
    tmp_path: Path, tiny_encoder: Path, dataset: Dataset, fake_generator: QueryGenerator
) -> Iterator[Suite]:
    with running(home_with(tmp_path / "home", tiny_encoder), dataset, fake_generator) as suite:
        suite.augmentation.post_documents(dataset.documents)
        yield suite


@pytest.fixture
def client(suite: Suite) -> Iterator[TestClient]:
    clients: dict[str, ServiceClient] = {
        "augmentation": suite.augmentation,
        "inference": suite.inference,
    }

    def answer(request: httpx.Request) -> httpx.Response:
        if request.url.host not in clients:
            raise httpx.ConnectError("refused")
        transport = clients[request.url.host]._http._transport
        return transport.handle_request(request)

    urls = {f"{name}_url": f"http://{name}" for name in clients}
    common = suite.common.model_copy(update=urls)
    settings = DashboardSettings(timeout_seconds=30)
    with TestClient(build_app(common, settings, httpx.MockTransport(answer))) as client:
        yield client


def test_every_page_shows_what_the_real_services_say(
    client: TestClient, suite: Suite, dataset: Dataset
) -> None:
    served = suite.publish(dataset, suite.labels())
    labels = sum(map(len, suite.labels().values()))
    overview = client.get("/v1/overview").json()
    of_hautbois = client.get("/documents/hautbois").text
    [job] = overview["jobs"]

    assert (overview["counts"]["labels"], overview["bundle"]["generation"]) == (labels, served)
    assert f"{len(WRITTEN)} of {len(WRITTEN)}" in client.get("/jobs").text
    assert '<span class="state done">done</span>' in client.get(f"/jobs/{job['id']}").text
    for shown in ("a double reed woodwind", "double reed woodwind", "It is number"):
        assert shown in of_hautbois
    assert served in client.get("/search", params={"query": UNSEEN_WORDING}).text
    assert served in client.get("/bundles").text


def test_a_verdict_reaches_the_real_store(client: TestClient, suite: Suite) -> None:
    page = client.get("/reviews").text
    [document_id, query_id] = re.findall(r'name="verdict/([^/]+)/([^"]+)" value="accept"', page)[0]
    token = re.findall(r'name="csrf_token" value="([0-9a-f]+)"', page)[0]
    client.post(
        "/reviews",
        data={"csrf_token": token, f"verdict/{document_id}/{query_id}": "reject"},
        headers={"origin": ORIGIN},
    )

    [review] = suite.augmentation.export_reviews()
    assert (review.document_id, review.query_id) == (document_id, query_id)
    assert review.verdict is ReviewVerdict.REJECT
