from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from services.mapping.app import build_app
from services.mapping.index_builder import build_index
from services.mapping.index_files import read_manifest
from services.mapping.serving import ServedMapping, serve_index
from services.mapping.settings import MappingSettings
from shared.contracts.mapping import MapResponse
from shared.dataset import Query
from tests.support.encoders import BagOfWordsEncoder

BODY = {"documents": [{"document_id": "d", "queries": ["old red wine"]}]}


def write_index(folder: Path, *texts: str) -> None:
    queries = [Query(id=text.replace(" ", "-"), text=text) for text in texts]
    build_index(queries, BagOfWordsEncoder(), folder, lambda *_: None)


def client_of(folder: Path) -> TestClient:
    settings = MappingSettings()
    encoder = BagOfWordsEncoder()

    def load() -> ServedMapping:
        return serve_index(folder, encoder, settings)

    return TestClient(build_app(settings, load), raise_server_exceptions=False)


@pytest.fixture
def client(tmp_path: Path) -> Iterator[TestClient]:
    write_index(tmp_path, "red wine", "fishing boat")
    with client_of(tmp_path) as client:
        yield client


@pytest.fixture
def client_without_index(tmp_path: Path) -> Iterator[TestClient]:
    with client_of(tmp_path) as client:
        yield client


def test_a_document_is_mapped_with_the_settings_that_were_used(client: TestClient) -> None:
    answer = client.post("/v1/map", json=BODY)

    response = MapResponse.model_validate_json(answer.content)
    assert answer.status_code == 200
    assert (response.encoder, response.min_similarity, response.neighbours) == ("words-1", 0.6, 10)
    [label] = response.results[0].labels
    assert (label.query_id, label.query, label.rank) == ("red-wine", "red wine", 1)
    assert label.synthetic_query == "old red wine"


def test_a_request_overrides_the_settings_and_is_told_so(client: TestClient) -> None:
    answer = client.post("/v1/map", json=BODY | {"min_similarity": -1.0, "neighbours": 1})

    response = MapResponse.model_validate_json(answer.content)
    assert (response.min_similarity, response.neighbours) == (-1.0, 1)
    assert len(response.results[0].labels) == 1


@pytest.mark.parametrize(
    ("body", "where"),
    [
        ({}, "body.documents"),
        ({"documents": []}, "body.documents"),
        ({"documents": [{"document_id": "d", "queries": [" "]}]}, "body.documents.0.queries.0"),
        ({"documents": [{"document_id": "a b", "queries": []}]}, "body.documents.0.document_id"),
        (BODY | {"neighbours": 0}, "body.neighbours"),
        (BODY | {"min_similarity": 1.5}, "body.min_similarity"),
        (BODY | {"tau": 0.5}, "body.tau"),
    ],
)
def test_bad_input_is_a_problem_that_says_where(
    client: TestClient, body: dict[str, object], where: str
) -> None:
    answer = client.post("/v1/map", json=body)

    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["errors"][0]["where"] == where


def test_malformed_json_is_a_problem(client: TestClient) -> None:
    answer = client.post(
        "/v1/map", content=b'{"documents":', headers={"content-type": "application/json"}
    )

    assert answer.status_code == 422
    assert answer.json()["type"] == "urn:skim:problem:invalid-input"


def test_info_says_what_is_mapped_with(client: TestClient) -> None:
    info = client.get("/v1/info").json()

    assert info.pop("policy")
    assert info.pop("index_version")
    assert info == {
        "encoder": "words-1",
        "train_queries": 2,
        "rule": "preset 0.6 10 0.5/-2.25/1/0.08",
        "trust": "0.5/-2.25/1/0.08",
        "min_similarity": 0.6,
        "neighbours": 10,
    }


def test_without_an_index_the_service_lives_and_says_what_to_run(
    client_without_index: TestClient,
) -> None:
    assert client_without_index.get("/livez").status_code == 200
    for answer in (
        client_without_index.get("/readyz"),
        client_without_index.get("/v1/info"),
        client_without_index.post("/v1/map", json=BODY),
    ):
        assert answer.status_code == 503
        assert "skim mapping build" in answer.json()["detail"]
        assert answer.headers["retry-after"]


def test_reload_serves_the_index_that_was_built_meanwhile(
    client_without_index: TestClient, tmp_path: Path
) -> None:
    write_index(tmp_path, "red wine", "fishing boat", "wooden house")

    answer = client_without_index.post("/v1/index:reload")

    assert answer.status_code == 200
    assert answer.json()["train_queries"] == 3
    assert client_without_index.get("/readyz").status_code == 200


def test_a_damaged_index_leaves_the_served_one_in_place(
    client: TestClient, tmp_path: Path
) -> None:
    (tmp_path / read_manifest(tmp_path).index[0].name).write_bytes(b"not an index")

    answer = client.post("/v1/index:reload")

    assert answer.status_code == 500
    assert answer.json()["type"] == "urn:skim:problem:damaged"
    assert client.get("/readyz").status_code == 200
    assert client.post("/v1/map", json=BODY).json()["results"][0]["labels"]
