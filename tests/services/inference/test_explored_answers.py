from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from services.inference.app import build_app
from services.inference.event_desk import EventDesk
from services.inference.settings import InferenceSettings
from tests.services.inference.test_events_app import kept, sent, service
from tests.support.generations import Shelf, ad, generation
from tests.support.inference_app import HeldEncoder


@pytest.fixture
def client(tmp_path: Path) -> Iterator[TestClient]:
    with service(tmp_path / "events", explore_share=0.2, explore_seed=0) as client:
        yield client


def ask(client: TestClient, **asked: Any) -> list[dict[str, Any]]:  # noqa: ANN401
    answer = client.get("/v1/ads", params={"query": "thing 7", **asked})
    return list(answer.raise_for_status().json()["ads"])


def drawn(ads: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [each for each in ads if "slot" in each]


def test_no_drawn_place_is_given_twice_and_the_cache_gives_only_ranked_ads(
    client: TestClient,
) -> None:
    answers = [client.get("/v1/ads?query=thing 7&k=5") for _ in range(60)]

    slots = [each["slot"] for answer in answers for each in drawn(answer.json()["ads"])]
    cached = [each for each in answers if each.headers["server-timing"] == "cache;desc=hit"]
    ranked = [each for each in answers if not drawn(each.json()["ads"])]
    assert len(slots) == len(set(slots)) > 20
    assert len(cached) == len(ranked) - 1 > 5  # all but the first of them
    assert all(not drawn(each.json()["ads"]) for each in cached)
    assert len({json.dumps(each.json()["ads"]) for each in ranked}) == 1


def test_each_answer_is_named_by_its_own_request_also_from_the_cache(tmp_path: Path) -> None:
    with service(tmp_path / "events") as client:
        answers = [client.get("/v1/ads?query=thing 7") for _ in range(3)]

    names = [each.json()["request"] for each in answers]
    assert answers[2].headers["server-timing"] == "cache;desc=hit"
    assert names == [each.headers["x-request-id"] for each in answers]
    assert len(set(names)) == 3


def test_the_propensity_is_one_over_the_ads_that_match(client: TestClient) -> None:
    wanted = json.dumps({"price": {"gte": 10, "lt": 22}})
    places = [
        each for _ in range(40) for each in drawn(ask(client, k=20, filter=wanted, fields="price"))
    ]

    assert len(places) > 20
    assert {each["propensity"] for each in places} == {1 / 12}
    assert all(10 <= each["fields"]["price"] < 22 for each in places)


def test_what_is_drawn_follows_changes_at_once(client: TestClient) -> None:
    client.put("/v1/ads", json=[{"id": f"oboe-{n}", "title": f"oboe {n}"} for n in range(2)])
    client.request("DELETE", "/v1/ads", json=[f"thing-{n}" for n in range(2, 30)])
    there = {"thing-0", "thing-1", "oboe-0", "oboe-1"}
    answers = [ask(client, k=9) for _ in range(60)]

    assert all({each["id"] for each in ads} == there for ads in answers)
    assert {each["id"] for ads in answers for each in drawn(ads)} == there
    assert {each["propensity"] for ads in answers for each in drawn(ads)} == {1 / 4}


def test_an_event_of_a_drawn_ad_that_was_put_is_accepted_with_its_propensity(
    client: TestClient, tmp_path: Path
) -> None:
    client.put("/v1/ads", json=[{"id": "oboe", "title": "oboe"}])
    client.request("DELETE", "/v1/ads", json=[f"thing-{n}" for n in range(1, 30)])
    answers = (client.get("/v1/ads?query=oboe").json() for _ in range(100))
    answer, position, oboe = next(
        (answer, position, each)
        for answer in answers
        for position, each in enumerate(answer["ads"], start=1)
        if each["id"] == "oboe" and "slot" in each
    )
    event = sent(
        query="oboe",
        ad="oboe",
        position=position,
        request=answer["request"],
        slot=oboe["slot"],
    )
    verdicts = client.post("/v1/events", json=[event, {**event, "id": "e2", "ad": "thing-0"}])

    assert verdicts.json()["accepted"] == 1
    assert "slot" in verdicts.json()["verdicts"][1]["reason"]
    [stored] = kept(tmp_path / "events")
    assert (stored.ad, stored.propensity) == ("oboe", 0.5)


def test_a_batch_draws_nothing(tmp_path: Path) -> None:
    with service(tmp_path / "events", explore_share=0.9, explore_seed=0) as client:
        queries = [{"query": f"thing {number}"} for number in range(5)]
        answers = client.post("/v1/ads:batch", json={"queries": queries}).json()["answers"]

    assert all(not drawn(each["ads"]) for each in answers)


def test_an_answer_under_way_draws_from_the_ads_it_began_with(tmp_path: Path) -> None:
    encoder, shelf = HeldEncoder(), Shelf(tmp_path)
    shelf.put("v1", generation("v1", [ad("a"), ad("b")], encoder=encoder), current=True)
    shelf.put("v2", generation("v2", [ad("c")]))
    encoder.holds = True
    settings = InferenceSettings(explore_share=0.9, explore_seed=0, timeout_ms=60_000)
    open_desk = partial(EventDesk, tmp_path / "events", settings, lambda: None)
    app = build_app(settings, shelf.generations(), open_desk=open_desk)
    with TestClient(app) as client, ThreadPoolExecutor(1) as caller:
        asked = caller.submit(client.get, "/v1/ads?query=a&k=9")
        assert encoder.entered.acquire(timeout=30)
        client.delete("/v1/ads/a").raise_for_status()
        client.post("/v1/bundles/v2:activate").raise_for_status()
        encoder.gate.set()

        answer = asked.result(timeout=30).json()

    assert (answer["generation"], answer["ads_version"]) == ("v1", 0)
    assert {each["id"] for each in answer["ads"]} == {"a", "b"}
    assert {each["propensity"] for each in drawn(answer["ads"])} == {1 / 2}
