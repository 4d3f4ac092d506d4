import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest
from fastapi.testclient import TestClient
from typer.testing import CliRunner

from services.cli import ads as module
from services.cli import search
from services.cli.__main__ import app
from services.inference.app import build_app
from services.inference.settings import InferenceSettings
from shared.clients import InferenceClient
from shared.contracts.inference import AdPatch, Bundles, BundleSummary
from shared.dataset import write_rows
from shared.errors import InvalidInput
from tests.support.generations import Shelf, ad, generation
from tests.support.in_process import InProcess


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    shelf = Shelf(tmp_path / "home")
    shelf.put("v1", generation("v1", [ad("red-wine"), ad("boat")]), current=True)
    return shelf


@pytest.fixture
def service(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> Iterator[TestClient]:
    settings = InferenceSettings(timeout_ms=60_000)
    with TestClient(build_app(settings, shelf.generations())) as client:

        def connected(url: str, **_: object) -> InferenceClient:
            return InferenceClient(url, attempts=1, transport=InProcess(client))

        monkeypatch.setattr(module, "InferenceClient", connected)
        monkeypatch.setattr(search, "InferenceClient", connected)
        yield client


def run(*command: str) -> str:
    result = CliRunner().invoke(app, list(command))
    if isinstance(result.exception, InvalidInput):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result.stdout.strip()


def told(printed: str) -> dict[str, str]:
    """Return what is printed last: the service in this process logs before it."""
    return dict(json.loads(printed.splitlines()[-1]))


def test_a_file_of_ads_is_put_patched_found_and_deleted(
    service: TestClient, tmp_path: Path
) -> None:
    file, patches = tmp_path / "documents.jsonl", tmp_path / "patches.jsonl"
    write_rows(file, [ad(f"thing-{number}", price=number) for number in range(600)])
    write_rows(patches, [AdPatch(id="thing-7", metadata={"price": -1})])

    told = json.loads(run("ads", "put", str(file)))
    assert (told["added"], told["ads"]) == (600, 602)
    assert json.loads(run("ads", "put", str(file)))["unchanged"] == 600
    assert json.loads(run("ads", "patch", str(patches)))["changed"] == 1
    found = run("search", "thing", "--filter", '{"price": {"lt": 0}}', "--fields", "price")
    assert "thing-7" in found
    assert "-1" in found
    assert json.loads(run("ads", "explain", "thing-7", "thing"))["vector"] == "cold_start"
    assert json.loads(run("ads", "delete", str(file)))["removed"] == 600


def test_an_empty_file_is_refused(service: TestClient, tmp_path: Path) -> None:
    (tmp_path / "none.jsonl").touch()

    with pytest.raises(InvalidInput, match="no ads"):
        run("ads", "put", str(tmp_path / "none.jsonl"))


@pytest.mark.parametrize("wanted", ["{", "[]"])
def test_a_filter_that_is_no_object_is_refused(service: TestClient, wanted: str) -> None:
    with pytest.raises(InvalidInput, match="--filter"):
        run("search", "x", "--filter", wanted)


def test_bundles_are_activated_and_rolled_back(service: TestClient, shelf: Shelf) -> None:
    shelf.put("v2", generation("v2", [ad("house")]))

    assert told(run("bundles", "activate", "v2"))["generation"] == "v2"
    assert told(run("bundles", "rollback"))["generation"] == "v1"
    assert "bundle" in run("bundles", "list")


def test_bundles_are_listed_with_their_recall_and_as_json(monkeypatch: pytest.MonkeyPatch) -> None:
    summary = BundleSummary(
        version="v2",
        created_at=datetime(2026, 11, 26, tzinfo=UTC),
        format_version=2,
        ads=7,
        encoder="words",
        metrics={"validation: recall@100": 0.6543, "validation: P@1": 0.2},
        is_served=True,
    )
    known = Bundles(served="v2", previous=None, bundles=[summary])
    answer = httpx.Response(200, json=known.model_dump(mode="json"))
    transport = httpx.MockTransport(lambda _: answer)
    monkeypatch.setattr(
        module, "InferenceClient", lambda url, **_: InferenceClient(url, transport=transport)
    )
    listed, printed = run("bundles", "list"), run("bundles", "list", "--json")

    assert "0.654" in listed
    assert "P@1" not in listed
    assert Bundles.model_validate_json(printed) == known
