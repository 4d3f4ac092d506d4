"""What answers past the framework and what the framework answers are one and the same."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from services.inference.app import build_app
from services.inference.retriever import Question
from services.inference.routes.answering import answers_of
from services.inference.routes.lane import AdsLane
from services.inference.settings import InferenceSettings
from tests.support.encoders import BagOfWordsEncoder
from tests.support.generations import Shelf, ad, generation

ADS = [ad("red-wine", price=3), ad("white-wine", price=5), ad("fishing-boat", text="x")]
ASKED = (
    "query=wine",
    "query=+red%20wine+&k=2",
    "query=wine&k=1&k=2",
    "query=wine&query=boat",
    "query=wine&k=2.0",
    "query=wine&k=+2",
    "query=wine&k=1_0",
    "query=wine&k=0x2",
    "query=wine&k=",
    "query=wine&k=1001",
    "query=wine&utm=1&k=1",
    "query=wine;k=1",
    "query=%ff%fe",
    "query=%1fwine%1f",
    "query=%C2%A0",
    "query",
    "QUERY=wine",
    "",
    "query=wine&fields=price,,text",
    "query=wine&fields=" + "x" * 10_001,
    "query=wine&filter=%7B%22price%22%3A3%7D",
    "query=wine&filter=%7B",
    "query=wine&filter=",
    "query=wine&timeout_ms=60000",
    "query=wine&timeout_ms=0",
    "query=wine&timeout_ms=60001",
)


class Unlucky(BagOfWordsEncoder):
    """Breaks at one query."""

    def tokens(self, texts: list[str], *, max_tokens: int = 32) -> list[list[int]]:
        if texts == ["unlucky"]:
            raise ValueError("a secret")
        return super().tokens(texts, max_tokens=max_tokens)


def client_of(home: Path) -> TestClient:
    shelf = Shelf(home)
    shelf.put("v1", generation("v1", ADS, encoder=Unlucky()), current=True)
    app = build_app(InferenceSettings(timeout_ms=60_000), shelf.generations())
    return TestClient(app, raise_server_exceptions=False)


@pytest.fixture(scope="module")
def lane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    with client_of(tmp_path_factory.mktemp("lane")) as client:
        yield client


@pytest.fixture(scope="module")
def route(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    client = client_of(tmp_path_factory.mktemp("route"))
    middleware = client.app.user_middleware
    middleware[:] = [each for each in middleware if each.cls is not AdsLane]
    with client:
        yield client


@pytest.mark.parametrize("asked", ASKED)
def test_a_request_is_answered_alike_by_the_lane_and_by_the_route(
    lane: TestClient, route: TestClient, asked: str
) -> None:
    one, other = (
        client.get(f"/v1/ads?{asked}", headers={"x-request-id": "a"}) for client in (lane, route)
    )

    assert one.status_code == other.status_code
    assert {**one.json(), "took_ms": 0} == {**other.json(), "took_ms": 0}
    headers = [
        {name: each.headers[name] for name in each.headers if name != "content-length"}
        for each in (one, other)
    ]
    for each in headers:
        each.pop("server-timing", None)
    assert headers[0] == headers[1]


def test_queries_answered_together_are_answered_as_alone_and_fail_alone(lane: TestClient) -> None:
    queries = ["wine", "boat", "unlucky", "red wine", "wine"]
    asked = [Question(lane.app.state.serving.generations.view(), query, 3) for query in queries]

    together = answers_of(asked)

    for each, answer in zip(asked, together, strict=True):
        [alone] = answers_of([each])
        if each.query == "unlucky":
            assert isinstance(answer, ValueError)
        else:
            assert answer[0] == alone[0]


@pytest.mark.parametrize("method", ["HEAD", "OPTIONS", "POST"])
def test_other_methods_are_not_its_business(
    lane: TestClient, route: TestClient, method: str
) -> None:
    one, other = (client.request(method, "/v1/ads?query=wine") for client in (lane, route))

    assert (one.status_code, one.headers["allow"]) == (405, other.headers["allow"])


def test_its_requests_are_counted_under_the_route(lane: TestClient) -> None:
    def counted() -> str:
        start = 'skim_http_requests_total{method="GET",route="/v1/ads",status="200"} '
        lines = lane.get("/metrics").text.splitlines()
        return next((line.removeprefix(start) for line in lines if line.startswith(start)), "0")

    before = float(counted())
    lane.get("/v1/ads?query=boat").raise_for_status()

    assert float(counted()) == before + 1


def test_an_error_nobody_foresaw_is_a_problem_that_says_nothing(
    lane: TestClient, route: TestClient
) -> None:
    for client in (lane, route):
        answer = client.get("/v1/ads?query=unlucky")
        assert (answer.status_code, answer.json()["type"]) == (
            500,
            "urn:skim:problem:internal-error",
        )
        assert "secret" not in answer.text
        assert client.get("/v1/ads?query=wine").status_code == 200


@pytest.mark.parametrize(("connections", "is_alone"), [(0, False), (1, True), (2, False)])
def test_only_the_one_connection_there_is_may_keep_the_event_loop(
    lane: TestClient, monkeypatch: pytest.MonkeyPatch, connections: int, is_alone: bool
) -> None:
    told = list[bool]()
    admission = lane.app.state.serving.admission
    run_together = admission.run_together
    monkeypatch.setattr(
        admission,
        "run_together",
        lambda *given, alone: told.append(alone) or run_together(*given, alone=alone),
    )
    monkeypatch.setattr(lane.app.state, "connections", set(range(connections)), raising=False)

    answer = lane.get(f"/v1/ads?query=wine+{connections}").json()

    assert [each["id"] for each in answer["ads"]]
    assert told == [is_alone]
