from __future__ import annotations

import asyncio
import json
import os
import sys
import threading
from dataclasses import replace
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from services.inference.live_ads import Upkeep
from shared.bundle_facts import ScoreCalibration
from shared.clients import InferenceClient
from shared.contracts.document import Document
from shared.contracts.inference import (
    Ad,
    AdPatch,
    AdResponse,
    AdsBatchResponse,
    AdsChanged,
    AdsResponse,
    Explanation,
)
from shared.errors import NotFound
from tests.support.generations import Shelf
from tests.support.in_process import InProcess
from tests.support.inference_app import bundle, client_of


def test_the_top_ads_come_best_first_with_the_bundle_they_come_from(client: TestClient) -> None:
    answer = client.get("/v1/ads", params={"query": " old red wine ", "k": 2})

    response = AdsResponse.model_validate_json(answer.content)
    assert (response.query, response.generation) == ("old red wine", "v1")
    assert [(ad.id, ad.title) for ad in response.ads] == [
        ("red-wine", "red wine"),
        ("white-wine", "white wine"),
    ]
    assert response.ads[0].score > response.ads[1].score
    assert response.took_ms > 0


def test_ten_ads_are_given_unless_asked_otherwise(shelf: Shelf) -> None:
    titles = tuple(f"thing {number}" for number in range(20))
    shelf.put("v1", bundle("v1", titles), current=True)
    with client_of(shelf) as client:
        assert len(client.get("/v1/ads", params={"query": "thing"}).json()["ads"]) == 10


def test_the_answer_says_where_the_time_went(client: TestClient) -> None:
    header = client.get("/v1/ads", params={"query": "boat"}).headers["server-timing"]

    stages = dict(part.split(";dur=") for part in header.split(", "))
    assert list(stages) == ["queue", "tokenise", "encode", "search", "name"]
    assert all(float(milliseconds) >= 0 for milliseconds in stages.values())


def test_the_stages_are_counted_in_the_metrics(client: TestClient) -> None:
    client.get("/v1/ads", params={"query": "boat"})

    metrics = client.get("/metrics").text
    for stage in ("queue", "tokenise", "encode", "search", "name"):
        assert f'skim_inference_stage_seconds_count{{stage="{stage}"}} 1.0' in metrics


@pytest.mark.parametrize(
    ("params", "where"),
    [
        ({}, "query.query"),
        ({"query": ""}, "query.query"),
        ({"query": " \t "}, "query.query"),
        ({"query": "x" * 1_001}, "query.query"),
        ({"query": "x", "k": 0}, "query.k"),
        ({"query": "x", "k": 1_001}, "query.k"),
        ({"query": "x", "k": "ten"}, "query.k"),
    ],
)
def test_bad_input_is_a_problem_that_says_where(
    client: TestClient, params: dict[str, str | int], where: str
) -> None:
    answer = client.get("/v1/ads", params=params)

    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["errors"][0]["where"] == where


@pytest.mark.parametrize("query", ["x" * 1_000, "é € 😀 \u202e", "'; DROP TABLE ads; --", "\x00"])
def test_any_text_is_a_query(client: TestClient, query: str) -> None:
    answer = client.get("/v1/ads", params={"query": query})

    assert answer.status_code == 200
    assert answer.json()["query"] == query


def test_one_ad_is_given_as_the_bundle_knows_it(client: TestClient) -> None:
    response = AdResponse.model_validate_json(client.get("/v1/ads/red-wine").content)

    assert response.generation == "v1"
    assert response.ad == Ad(id="red-wine", title="red wine", text="x")


def test_an_unknown_ad_is_a_problem(client: TestClient) -> None:
    answer = client.get("/v1/ads/no-such-ad")

    assert answer.status_code == 404
    assert answer.json()["type"] == "urn:skim:problem:not-found"
    assert "no-such-ad" in answer.json()["detail"]


def test_a_thread_that_wants_the_interpreter_does_not_wait_for_milliseconds(
    client: TestClient,
) -> None:
    assert client.get("/livez").status_code == 200  # it has started
    assert sys.getswitchinterval() == pytest.approx(1e-4)


@pytest.mark.skipif(sys.platform != "linux", reason="threads have no niceness of their own")
def test_whoever_works_beside_the_event_loop_is_behind_it(client: TestClient) -> None:
    def nice() -> int:
        return os.getpriority(os.PRIO_PROCESS, threading.get_native_id())

    serving = client.app.state.serving

    async def beside() -> tuple[int, int, int]:
        changed = await serving.change(lambda ads: nice())
        return nice(), await asyncio.to_thread(nice), changed

    loop, work, change = client.portal.call(beside)

    assert work == change == min(19, loop + 10)


def test_info_says_what_the_answers_come_from(client: TestClient) -> None:
    assert client.get("/v1/info").json() == {
        "generation": "v1",
        "ads_version": 0,
        "ads": 4,
        "encoder": "words-1",
        "dimensions": 64,
        "index": "flat",
        "ef": None,
        "nprobe": None,
        "recall_at_10": 1.0,
        "changed_ads": 0,
        "changed_index": None,
        "cold_start_ads": 0,
        "calibration": None,
        "metrics": {"recall@100": 0.5},
    }


def test_without_a_bundle_the_service_lives_and_says_what_to_run(tmp_path: Path) -> None:
    with client_of(Shelf(tmp_path)) as client:
        assert client.get("/livez").status_code == 200
        for path in ("/readyz", "/v1/info", "/v1/ads?query=boat", "/v1/ads/red-wine"):
            answer = client.get(path)
            assert answer.status_code == 503
            assert "skim publish" in answer.json()["detail"]
            assert answer.headers["retry-after"]
        assert client.put("/v1/ads", json=[]).status_code == 422
        assert client.get("/v1/bundles").json()["served"] is None


def test_a_change_is_seen_by_the_next_request_and_kept_answers_are_not_given_again(
    client: TestClient,
) -> None:
    first = client.get("/v1/ads?query=oboe")
    again = client.get("/v1/ads?query=oboe")
    changed = AdsChanged.model_validate_json(
        client.put("/v1/ads", json=[{"id": "oboe", "title": "oboe"}]).content
    )
    after = AdsResponse.model_validate_json(client.get("/v1/ads?query=oboe").content)

    assert again.headers["server-timing"] == "cache;desc=hit"
    assert again.json()["ads"] == first.json()["ads"]
    assert (changed.added, changed.ads) == (1, 5)
    assert (after.ads[0].id, after.ads_version) == ("oboe", changed.ads_version)
    client.request("DELETE", "/v1/ads", json=["oboe"]).raise_for_status()
    assert client.get("/v1/ads?query=oboe").json()["ads"] == first.json()["ads"]


def test_changes_come_as_a_list_or_as_lines(client: TestClient) -> None:
    lines = b'{"id": "a", "title": "a"}\n\n{"id": "b", "title": "b"}\n'
    assert client.put("/v1/ads", content=lines).json()["added"] == 2
    assert client.patch("/v1/ads", json=[{"id": "a", "title": "c"}]).json()["changed"] == 1
    assert client.request("DELETE", "/v1/ads", content=b'{"id": "a"}').json()["removed"] == 1
    assert client.request("DELETE", "/v1/ads", json=["b", "no"]).json()["removed"] == 1
    assert client.delete("/v1/ads/b").status_code == 404


@pytest.mark.parametrize(
    ("method", "body", "where"),
    [
        ("PUT", b"", "empty body"),
        ("PUT", b"[]", "empty body"),
        ("PUT", b"[", "not JSON"),
        ("PUT", b'{"id": "a", "title": "a"}\n{', "line 2 is not JSON"),
        ("PUT", b'{"id": "a", "title": "a"}\n{"id": "b"}', "item 2: title"),
        ("PUT", b'[{"id": "a", "title": "a", "metadata": {"x": NaN}}]', "not JSON"),
        ("PUT", b'[{"id": "a", "title": "a"}, {"id": "a", "title": "a"}]', "'a' occurs twice"),
        ("PUT", b"[" + b",".join([b'{"id": "a", "title": "a"}'] * 1001) + b"]", "at most 1000"),
        ("PATCH", b'[{"title": "a"}]', "item 1: id"),
        ("PATCH", b'[{"id": "a", "title": " "}]', "item 1: title"),
        ("PUT", b"[" * 300 + b"]" * 300, "item 1 is nested too deeply"),
        ("DELETE", b"[7]", "item 1"),
        ("DELETE", b'["no id"]', "item 1: id"),
    ],
)
def test_a_change_at_fault_is_refused_whole_and_says_where(
    client: TestClient, method: str, body: bytes, where: str
) -> None:
    answer = client.request(method, "/v1/ads", content=body)

    assert answer.status_code == 422
    assert where in answer.json()["detail"]
    assert client.get("/v1/info").json()["ads_version"] == 0


def test_many_new_ads_get_an_index_beside_requests(shelf: Shelf) -> None:
    with client_of(shelf, upkeep=Upkeep(recent=5)) as client:
        ads = [{"id": f"t{number}", "title": f"thing {number}"} for number in range(9)]
        client.put("/v1/ads", json=ads).raise_for_status()
        infos = (client.get("/v1/info").json() for _ in range(10_000))
        info = next(each for each in infos if each["changed_index"])

        assert (info["changed_index"], info["changed_ads"], info["ads"]) == ("flat", 9, 13)
        assert client.get("/v1/ads?query=thing 7&k=1").json()["ads"][0]["id"] == "t7"
        assert "skim_inference_cold_start_ads 9.0" in client.get("/metrics").text


def test_filters_choose_among_the_ads(client: TestClient) -> None:
    client.put(
        "/v1/ads",
        json=[
            {"id": f"t{n}", "title": f"thing {n}", "metadata": {"price": n, "tags": [str(n % 3)]}}
            for n in range(30)
        ],
    ).raise_for_status()

    def ask(wanted: object) -> set[str]:
        params = {"query": "thing", "k": 50, "filter": json.dumps(wanted)}
        return {ad["id"] for ad in client.get("/v1/ads", params=params).json()["ads"]}

    assert ask({"price": 7}) == {"t7"}
    assert ask({"price": {"in": [1, 2, 99]}}) == {"t1", "t2"}
    assert ask({"price": {"gte": 27, "lt": 29}, "tags": "0"}) == {"t27"}
    assert ask({"price": "7"}) == set()
    assert ask({"no such field": 1}) == set()


@pytest.mark.parametrize(
    "wanted",
    [
        "{",
        "[]",
        '{"a": {}}',
        '{"a": {"gt": true}}',
        '{"a": {"in": []}}',
        '{"a": null}',
        '{"a": {"eq": null, "gt": 1}}',
        f'{{"a": "{"0" * 201}"}}',  # too long a text is no number
    ],
)
def test_a_filter_at_fault_says_so(client: TestClient, wanted: str) -> None:
    answer = client.get("/v1/ads", params={"query": "x", "filter": wanted})

    assert answer.status_code == 422
    assert answer.json()["detail"].startswith("filter")


def test_chosen_fields_come_with_the_ads(client: TestClient) -> None:
    client.put("/v1/ads", json=[{"id": "oboe", "title": "oboe", "metadata": {"price": 3}}])

    ads = client.get("/v1/ads?query=oboe&k=2&fields=price, text").json()["ads"]
    assert ads[0]["fields"] == {"price": 3, "text": ""}
    assert ads[1]["fields"] == {"text": "x"}


def test_a_batch_is_answered_in_its_order_and_as_each_query_alone(client: TestClient) -> None:
    queries = [{"query": "boat", "k": 1}, {"query": "red wine", "k": 2, "fields": ["text"]}]
    answer = client.post("/v1/ads:batch", json={"queries": queries})

    batch = AdsBatchResponse.model_validate_json(answer.content)
    alone = client.get("/v1/ads?query=red wine&k=2&fields=text").json()
    assert [one.query for one in batch.answers] == ["boat", "red wine"]
    assert [len(one.ads) for one in batch.answers] == [1, 2]
    assert [ad.model_dump(exclude_none=True) for ad in batch.answers[1].ads] == alone["ads"]
    assert (batch.generation, batch.ads_version) == ("v1", 0)


def test_an_ad_is_explained(client: TestClient) -> None:
    answer = client.get("/v1/ads/red-wine/explain", params={"query": "red wine"})

    explanation = Explanation.model_validate_json(answer.content)
    assert (explanation.vector, explanation.generation) == ("trained", "v1")
    assert explanation.score == pytest.approx(1, abs=1e-5)
    assert client.get("/v1/ads/no/explain?query=x").status_code == 404


def test_scores_of_a_calibrated_bundle_are_probabilities(shelf: Shelf) -> None:
    calibration = ScoreCalibration(knots=[(0, -4), (1, 4)])
    shelf.put("v1", replace(bundle("v1"), calibration=calibration), current=True)
    with client_of(shelf) as client:
        scores = [ad["score"] for ad in client.get("/v1/ads?query=red wine").json()["ads"]]

        assert scores[0] == pytest.approx(calibration.probability(1))
        assert all(0 < score < 1 for score in scores)
        assert client.get("/v1/info").json()["calibration"]["knots"] == [[0.0, -4.0], [1.0, 4.0]]


def test_the_openapi_document_describes_the_fast_path(client: TestClient) -> None:
    operation = client.get("/openapi.json").json()["paths"]["/v1/ads"]["get"]

    schema = operation["responses"]["200"]["content"]["application/json"]["schema"]
    assert schema == {"$ref": "#/components/schemas/AdsResponse"}
    k = next(one for one in operation["parameters"] if one["name"] == "k")["schema"]
    assert (k["minimum"], k["maximum"], k["default"]) == (1, 1_000, 10)


def test_our_client_understands_our_service(client: TestClient) -> None:
    with InferenceClient("http://testserver", transport=InProcess(client)) as ours:
        assert ours.ads("red wine", k=1).ads[0].id == "red-wine"
        assert ours.put_ads([Document(id="oboe", title="oboe", metadata={"p": 1})]).added == 1
        assert ours.patch_ads([AdPatch(id="oboe", metadata={"p": 2})]).changed == 1
        [oboe] = ours.ads("x", filter={"p": {"gte": 2}}, fields=["p"]).ads
        assert (oboe.id, oboe.fields) == ("oboe", {"p": 2})
        assert ours.explain("oboe", "oboe").vector == "cold_start"
        assert ours.delete_ads(["oboe"]).removed == 1
        assert ours.bundles().served == "v1"
        assert ours.activate("v1").generation == "v1"
        assert ours.ad("fishing-boat").ad.title == "fishing boat"
        with pytest.raises(NotFound, match="no-such-ad"):
            ours.ad("no-such-ad")
