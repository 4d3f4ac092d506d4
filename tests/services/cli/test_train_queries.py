import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from typer.testing import CliRunner

from services.cli import train_queries as module
from services.cli.__main__ import app
from services.mapping.app import build_app
from services.mapping.index_builder import build_index
from services.mapping.serving import serve_index
from services.mapping.settings import MappingSettings
from shared.clients import MappingClient
from shared.contracts.document import Document
from shared.dataset import Query, write_rows
from shared.errors import InvalidInput
from tests.support.encoders import BagOfWordsEncoder
from tests.support.in_process import InProcess


@pytest.fixture
def service(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[TestClient]:
    folder = tmp_path / "mapping"
    build_index([Query(id="a", text="a")], BagOfWordsEncoder(), folder, lambda *_: None)
    settings = MappingSettings()
    application = build_app(settings, lambda: serve_index(folder, BagOfWordsEncoder(), settings))
    with TestClient(application) as client:
        monkeypatch.setattr(
            module,
            "MappingClient",
            lambda url: MappingClient(url, attempts=1, transport=InProcess(client)),
        )
        yield client


def run(command: str, file: Path) -> dict[str, int]:
    result = CliRunner().invoke(app, ["mapping", command, str(file)])
    if isinstance(result.exception, InvalidInput):
        raise result.exception
    assert result.exit_code == 0, result.output
    return dict(json.loads(result.stdout.splitlines()[-1]))


def test_a_file_of_queries_is_put_and_deleted(service: TestClient, tmp_path: Path) -> None:
    file = tmp_path / "queries.jsonl"
    queries = [Query(id=f"q{number}", text=f"text {number}") for number in range(1_200)]
    write_rows(file, [*queries, Query(id="held", text="held out", split="test")])

    told = run("put", file)

    assert (told["added"], told["train_queries"]) == (1_200, 1_201)
    assert service.get("/v1/train-queries/held").status_code == 404
    assert run("put", file)["unchanged"] == 1_200
    told = run("delete", file)
    assert (told["removed"], told["unknown"], told["train_queries"]) == (1_200, 1, 1)


def test_a_file_without_train_queries_is_refused(service: TestClient, tmp_path: Path) -> None:
    file = tmp_path / "queries.jsonl"
    write_rows(file, [Query(id="held", text="held out", split="test")])

    with pytest.raises(InvalidInput, match="no train queries"):
        run("put", file)


def test_where_queries_have_the_metadata_titles_of_documents_are_put(
    service: TestClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "documents.jsonl"
    write_rows(file, [Document(id="c1", title="a category", text="with a text")])
    monkeypatch.setenv("SKIM_METADATA_SIDE", "query")

    told = run("put", file)

    assert told["added"] == 1
    assert service.get("/v1/train-queries/c1").json()["text"] == "a category"
