"""Train queries over HTTP: visible to the next request, all of a body or nothing, and never lost to a reload."""

import json
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from services.mapping.app import build_app
from services.mapping.index_builder import build_index
from services.mapping.index_files import read_manifest
from services.mapping.serving import serve_index
from services.mapping.settings import MappingSettings
from shared.contracts.mapping import MapResponse
from shared.dataset import Query
from tests.support.encoders import BagOfWordsEncoder

NDJSON = {"content-type": "application/x-ndjson"}


def client_of(folder: Path, **settings: int) -> TestClient:
    chosen = MappingSettings(**settings)  # type: ignore[arg-type]
    load = lambda: serve_index(folder, BagOfWordsEncoder(), chosen)
    return TestClient(build_app(chosen, load), raise_server_exceptions=False)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    queries = [Query(id=name, text=f"{name} wine") for name in ("red", "white")]
    build_index(queries, BagOfWordsEncoder(), tmp_path / "mapping", lambda *_: None)
    return tmp_path / "mapping"


@pytest.fixture
def client(folder: Path) -> Iterator[TestClient]:
    with client_of(folder) as client:
        yield client


def lines(*rows: dict[str, object]) -> bytes:
    return b"".join(json.dumps(row).encode() + b"\n" for row in rows)


def put(client: TestClient, *rows: dict[str, object]) -> dict[str, int]:
    answer = client.put("/v1/train-queries", content=lines(*rows), headers=NDJSON)
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def labels(client: TestClient, text: str) -> list[str]:
    body = {"documents": [{"document_id": "d", "queries": [text]}]}
    response = MapResponse.model_validate_json(client.post("/v1/map", json=body).content)
    return [label.query_id for label in response.results[0].labels]


def test_what_is_put_is_mapped_to_by_the_next_request(client: TestClient) -> None:
    before = client.get("/v1/info").json()

    changed = put(
        client, {"id": "boat", "text": "fishing boat"}, {"id": "red", "text": "red wine"}
    )

    assert (changed["added"], changed["unchanged"], changed["train_queries"]) == (1, 1, 3)
    assert changed["version"] > before["index_version"]
    assert labels(client, "fishing boat") == ["boat"]
    assert client.get("/v1/train-queries/boat").json()["text"] == "fishing boat"


def test_what_is_deleted_is_mapped_to_by_nobody(client: TestClient) -> None:
    body = lines({"id": "red"}, {"id": "nobody"})

    answer = client.request("DELETE", "/v1/train-queries", content=body, headers=NDJSON).json()

    assert (answer["removed"], answer["unknown"]) == (1, 1)
    assert labels(client, "red wine") == []
    assert client.get("/v1/train-queries/red").status_code == 404
    assert client.delete("/v1/train-queries/red").status_code == 404
    assert client.delete("/v1/train-queries/white").json()["train_queries"] == 0
    assert labels(client, "white wine") == []


def test_a_line_of_a_data_folder_may_be_put_as_it_is(client: TestClient) -> None:
    row: dict[str, object] = {"id": "boat", "text": "boat", "split": "train", "metadata": {"a": 1}}

    assert put(client, row)["added"] == 1


@pytest.mark.parametrize(
    ("body", "named"),
    [
        (b"", "no lines"),
        (b"\n \n", "no lines"),
        (b'{"id": "a", "text": "a"}\nnot json\n', "line 2"),
        (b'{"id": "a", "text": "a"}\n{"id": "b"}\n', "line 2: text: Field required"),
        (b'{"id": "a/b", "text": "a"}\n', "line 1: id"),
        (b'{"id": "a", "text": " "}\n', "line 1: text"),
        (b'{"id": "a", "text": "a", "split": "test"}\n', "line 1: split"),
        (b'{"id": "a", "text": "a", "vector": [1]}\n', "line 1: vector"),
        (b'{"id": "a", "text": "a"}\n{"id": "a", "text": "b"}\n', "'a' occurs twice"),
        (b'{"id": "a", "text": "\xff"}\n', "line 1"),
        (
            lines(*({"id": f"q{n}", "text": "x"} for n in range(10_001))),
            "10001 lines, at most 10000",
        ),
    ],
)
def test_a_body_with_one_bad_line_changes_nothing(
    client: TestClient, folder: Path, body: bytes, named: str
) -> None:
    before = client.get("/v1/info").json()

    answer = client.put("/v1/train-queries", content=body, headers=NDJSON)

    assert answer.status_code == 422
    assert answer.json()["type"] == "urn:skim:problem:invalid-input"
    assert named in answer.json()["detail"]
    assert client.get("/v1/info").json() == before
    assert client.get("/v1/train-queries/a").status_code == 404


def test_changes_say_what_to_map_anew(client: TestClient) -> None:
    since = client.get("/v1/info").json()["index_version"]
    put(client, {"id": "boat", "text": "boat"}, {"id": "red", "text": "ruby wine"})

    changes = client.get("/v1/train-queries/changes", params={"since": since}).json()

    assert (changes["added"], changes["removed"], changes["is_complete"]) == (
        ["boat", "red"],
        ["red"],
        True,
    )
    assert changes["policy"] == client.get("/v1/info").json()["policy"]
    assert client.get("/v1/train-queries/changes").status_code == 422
    old = client.get("/v1/train-queries/changes", params={"since": 1}).json()
    assert old["is_complete"] is False


def test_another_tau_after_a_restart_is_another_policy_and_version(folder: Path) -> None:
    with client_of(folder) as client:
        before = client.get("/v1/info").json()
    with client_of(folder) as client:
        assert client.get("/v1/info").json() == before
    with client_of(folder, neighbours=3) as client:
        after = client.get("/v1/info").json()
        changes = client.get(
            "/v1/train-queries/changes", params={"since": before["index_version"]}
        )

    assert after["policy"] != before["policy"]
    assert after["index_version"] > before["index_version"]
    assert changes.json()["is_complete"] is False


def test_a_restart_and_a_reload_keep_what_was_put(folder: Path) -> None:
    with client_of(folder) as client:
        put(client, {"id": "boat", "text": "boat"})
        assert client.post("/v1/index:reload").json()["train_queries"] == 3
    with client_of(folder) as client:
        assert labels(client, "boat") == ["boat"]


def test_many_changes_are_compacted_beside_requests(folder: Path) -> None:
    with client_of(folder, recent_queries=5) as client:
        for number in range(12):
            put(client, {"id": f"boat{number}", "text": f"boat number{number}"})
            assert labels(client, f"boat number{number}")[0] == f"boat{number}"
    assert read_manifest(folder).train_queries > 2
    with client_of(folder) as client:
        assert client.get("/v1/info").json()["train_queries"] == 14


def test_no_change_is_lost_to_a_reload_beside_it(client: TestClient) -> None:
    def reload() -> None:
        for _ in range(10):
            assert client.post("/v1/index:reload").status_code == 200

    beside = threading.Thread(target=reload)
    beside.start()
    for number in range(30):
        put(client, {"id": f"new{number}", "text": f"number{number}"})
    beside.join()

    assert client.get("/v1/info").json()["train_queries"] == 32


@pytest.mark.parametrize("part", ["index", "queries", "journal", "manifest"])
def test_a_damaged_index_leaves_the_served_one_in_place(
    client: TestClient, folder: Path, part: str
) -> None:
    put(client, {"id": "boat", "text": "boat"})
    manifest = read_manifest(folder)
    names = {
        "index": manifest.index[0].name,
        "queries": manifest.queries.name,
        "journal": manifest.journal,
    }
    path = folder / names.get(part, "manifest.json")
    content = path.read_bytes()
    path.write_bytes(bytes([content[0] ^ 1]) + content[1:])

    answer = client.post("/v1/index:reload")

    assert answer.status_code == 500
    assert answer.json()["type"] == "urn:skim:problem:damaged"
    assert labels(client, "boat") == ["boat"]
    assert client.get("/readyz").status_code == 200
