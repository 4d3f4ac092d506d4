from __future__ import annotations

import json
import weakref

import pytest
from fastapi.testclient import TestClient

from shared.errors import Damaged
from tests.support.generations import Shelf
from tests.support.inference_app import bundle


def test_reload_switches_to_the_bundle_that_is_current_now(
    client: TestClient, shelf: Shelf
) -> None:
    shelf.put("v2", bundle("v2", ("wooden house",)), current=True)

    assert client.get("/v1/ads?query=house").json()["generation"] == "v1"
    assert client.post("/v1/bundles:reload").json()["generation"] == "v2"
    after = client.get("/v1/ads?query=house").json()
    assert (after["generation"], after["ads"][0]["id"]) == ("v2", "wooden-house")


@pytest.mark.parametrize("path", ["/v1/bundles:reload", "/v1/bundles/v2:activate"])
def test_a_damaged_bundle_leaves_the_served_one_in_place(
    client: TestClient, shelf: Shelf, path: str
) -> None:
    shelf.put("v2", Damaged("vectors.npy: sha256 is wrong"), current=path.endswith("reload"))

    answer = client.post(path)

    assert answer.status_code == 500
    assert answer.json()["type"] == "urn:skim:problem:damaged"
    assert "vectors.npy" in answer.json()["detail"]
    assert client.get("/readyz").status_code == 200
    assert client.get("/v1/ads?query=boat").json()["generation"] == "v1"


def test_a_bundle_that_is_damaged_does_not_become_current(
    client: TestClient, shelf: Shelf
) -> None:
    shelf.put("v2", Damaged("vectors.npy: sha256 is wrong"))
    client.post("/v1/bundles/v2:activate")

    assert (shelf.bundles / "current").read_text() == "v1"


def test_activating_a_bundle_serves_it_and_rolling_back_the_one_before(
    client: TestClient, shelf: Shelf
) -> None:
    shelf.put("v2", bundle("v2", ("wooden house",)))

    assert client.post("/v1/bundles/v2:activate").json()["generation"] == "v2"
    assert (shelf.bundles / "current").read_text().strip() == "v2"
    assert client.get("/v1/ads?query=house").json()["ads"][0]["id"] == "wooden-house"
    assert client.post("/v1/bundles:rollback").json()["generation"] == "v1"
    assert client.get("/v1/ads?query=house").json()["generation"] == "v1"
    assert client.post("/v1/bundles:rollback").json()["generation"] == "v2"


@pytest.mark.parametrize("path", ["/v1/bundles/no:activate", "/v1/bundles:rollback"])
def test_a_bundle_that_is_not_there_is_not_found(client: TestClient, path: str) -> None:
    assert client.post(path).status_code == 404


def test_what_was_changed_stays_so_through_switches(client: TestClient, shelf: Shelf) -> None:
    shelf.put("v2", bundle("v2", ("wooden house", "red wine")))
    client.delete("/v1/ads/red-wine")
    client.put("/v1/ads", content=b'{"id": "oboe", "title": "oboe"}')
    client.post("/v1/bundles/v2:activate")

    found = client.get("/v1/ads?query=oboe&k=9").json()
    assert [ad["id"] for ad in found["ads"]] == ["oboe", "wooden-house"]


def test_what_was_served_is_let_go_of_without_another_query(
    client: TestClient, shelf: Shelf
) -> None:
    shelf.put("v2", bundle("v2"))
    client.get("/v1/ads?query=boat").raise_for_status()
    before = weakref.ref(client.app.state.serving.generations.view())
    client.post("/v1/bundles/v2:activate").raise_for_status()

    assert any(before() is None for _ in range(10_000) if client.get("/livez"))


def test_bundles_are_listed_newest_first(client: TestClient, shelf: Shelf) -> None:
    for number, version in enumerate(("v1", "v2"), start=1):
        (shelf.bundles / version).mkdir(exist_ok=True)
        (shelf.bundles / version / "manifest.json").write_text(
            json.dumps(
                {
                    "version": version,
                    "created_at": f"2026-11-0{number}T00:00:00Z",
                    "git_revision": None,
                    "encoder": "words-1",
                    "dimensions": 64,
                    "counts": {"ads": 4, "train_queries": 0, "clicks": 0, "labels": 0},
                    "files": {},
                }
            )
        )

    listed = client.get("/v1/bundles").json()
    assert [each["version"] for each in listed["bundles"]] == ["v2", "v1"]
    assert [each["is_served"] for each in listed["bundles"]] == [False, True]
    assert (listed["served"], listed["previous"]) == ("v1", None)
