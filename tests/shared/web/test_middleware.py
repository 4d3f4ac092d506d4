import gzip
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import pytest
from fastapi import FastAPI, Request, Response
from fastapi.testclient import TestClient
from structlog.testing import capture_logs

from shared.web import create_app
from shared.web.middleware import SECURITY_HEADERS

LIMIT = 1_000


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncIterator[None]:
    yield


async def check_ready(_: FastAPI) -> None:
    pass


@pytest.fixture
def client() -> TestClient:
    app = create_app("test", "A service.", lifespan, check_ready=check_ready, max_body_bytes=LIMIT)

    @app.post("/body")
    async def body(request: Request) -> int:
        return len(await request.body())

    @app.get("/broken")
    async def broken() -> None:
        raise RuntimeError("CANARY")

    @app.get("/things/{thing_id}")
    async def thing(thing_id: str) -> str:
        return thing_id

    @app.delete("/things/{thing_id}")
    async def delete_thing(thing_id: str) -> str:
        return thing_id

    @app.post("/things/{thing_id}:cancel")
    async def cancel_thing(thing_id: str) -> str:
        return thing_id

    @app.get("/own")
    async def own() -> Response:
        return Response(headers={"cache-control": "max-age=60"})

    return TestClient(app)


@pytest.mark.parametrize("path", ["/livez", "/none", "/broken", "/openapi.json"])
def test_every_answer_has_the_security_headers_and_a_request_id(
    client: TestClient, path: str
) -> None:
    answer = client.get(path)

    for name, value in SECURITY_HEADERS.items():
        assert answer.headers.get_list(name.decode()) == [value.decode()]
    assert answer.headers["x-request-id"]


def test_a_route_may_have_a_header_of_its_own(client: TestClient) -> None:
    assert client.get("/own").headers.get_list("cache-control") == ["max-age=60"]


def test_an_error_nobody_foresaw_is_a_problem_that_tells_nothing_and_is_logged_once(
    client: TestClient,
) -> None:
    with capture_logs() as logs:
        answer = client.get("/broken")

    assert answer.status_code == 500
    assert answer.json()["type"] == "urn:skim:problem:internal-error"
    assert "CANARY" not in answer.text
    assert [entry["event"] for entry in logs] == ["unexpected_error"]


@pytest.mark.parametrize("coding", ["gzip", "br", "deflate", "gzip, gzip", "GZIP", "x"])
def test_a_packed_body_is_refused_before_it_is_read(client: TestClient, coding: str) -> None:
    bomb = gzip.compress(b"0" * 100_000)
    answer = client.post("/body", content=bomb, headers={"content-encoding": coding})

    assert answer.status_code == 415
    assert answer.json()["type"] == "urn:skim:problem:unsupported-media-type"


def test_a_body_that_says_it_is_not_packed_is_read(client: TestClient) -> None:
    answer = client.post("/body", content=b"x", headers={"content-encoding": "identity"})

    assert answer.json() == 1


def test_a_body_past_the_limit_is_refused_while_it_streams_in(client: TestClient) -> None:
    pieces: Iterator[bytes] = (b"x" * 100 for _ in range(100))

    assert client.post("/body", content=pieces).status_code == 413


def test_a_body_at_the_limit_is_taken(client: TestClient) -> None:
    assert client.post("/body", content=b"x" * LIMIT).json() == LIMIT


def test_made_up_methods_do_not_fill_the_metrics(client: TestClient) -> None:
    for number in range(3):
        client.request(f"MADE{number}", "/livez")

    metrics = client.get("/metrics").text
    assert 'method="other",route="' in metrics or 'route="unmatched",method="other"' in metrics
    assert "MADE" not in metrics


@pytest.mark.parametrize(
    ("path", "methods"),
    [("/livez", "GET"), ("/things/1", "DELETE, GET"), ("/things/1:cancel", "POST")],
)
def test_a_wrong_method_is_told_the_right_ones(
    client: TestClient, path: str, methods: str
) -> None:
    answer = client.put(path)

    assert answer.status_code == 405
    assert answer.headers.get_list("allow") == [methods]
