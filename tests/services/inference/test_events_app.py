from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import orjson
import pytest
from fastapi.testclient import TestClient

from services.inference.app import build_app
from services.inference.event_desk import EventDesk
from services.inference.settings import InferenceSettings
from shared.contracts.events import EventsResponse
from shared.contracts.inference import AdsResponse
from shared.events.files import days_of, event_files, read_day
from shared.events.record import StoredEvent
from tests.support.generations import Shelf, ad, generation

NOW = datetime.now(UTC)
ADS = [ad(f"thing-{number}", price=number) for number in range(30)]


def nothing_trained() -> datetime | None:
    return None


@contextmanager
def service(
    folder: Path,
    trained_until: Callable[[], datetime | None] = nothing_trained,
    **settings: Any,  # noqa: ANN401
) -> Iterator[TestClient]:
    given, shelf = InferenceSettings(**settings), Shelf(folder.parent / "served")
    shelf.put("v1", generation("v1", ADS), current=True)
    app = build_app(
        given,
        shelf.generations(),
        open_desk=partial(EventDesk, folder, given, trained_until),
    )
    with TestClient(app, raise_server_exceptions=False) as client:
        yield client


@pytest.fixture
def client(tmp_path: Path) -> Iterator[TestClient]:
    with service(tmp_path / "events") as client:
        yield client


def kept(folder: Path) -> list[StoredEvent]:
    return [event for day in days_of(folder) for event in read_day(folder, day).events]


def sent(**change: Any) -> dict[str, Any]:  # noqa: ANN401
    return {
        "id": "e1",
        "kind": "click",
        "time": NOW.isoformat(),
        "query": "thing 1",
        "ad": "thing-1",
        "position": 1,
        "generation": "v1",
        "request": "r1",
        **change,
    }


def test_events_are_on_disk_when_they_are_answered_for(client: TestClient, tmp_path: Path) -> None:
    answer = client.post("/v1/events", json=[sent(), sent(id="e2", kind="impression")])

    response = EventsResponse.model_validate_json(answer.content)
    assert (answer.status_code, response.accepted) == (200, 2)
    assert {event.id for event in kept(tmp_path / "events")} == {"e1", "e2"}


def test_no_file_has_the_name_of_a_client(client: TestClient, tmp_path: Path) -> None:
    client.post("/v1/events", json=[sent(client="ann-of-kent")])

    files = [path for path in (tmp_path / "events").iterdir() if path.is_file()]
    assert len(kept(tmp_path / "events")[0].client) == 16
    assert all(b"ann-of-kent" not in path.read_bytes() for path in files)


def test_each_event_has_its_verdict(client: TestClient) -> None:
    lines = b"\n".join(map(orjson.dumps, [sent(), sent(), sent(id="e2", position=0)]))

    answer = client.post(
        "/v1/events", content=lines, headers={"content-type": "application/x-ndjson"}
    ).json()

    assert (answer["accepted"], answer["duplicates"], answer["rejected"]) == (1, 1, 1)
    assert [each["id"] for each in answer["verdicts"]] == ["e1", "e1", "e2"]
    assert "position" in answer["verdicts"][2]["reason"]


def test_a_body_that_is_no_list_is_a_problem(client: TestClient) -> None:
    answer = client.post("/v1/events", json=sent())

    assert answer.status_code == 422
    assert answer.json()["type"] == "urn:skim:problem:invalid-input"


def test_a_body_past_the_limit_is_refused(tmp_path: Path) -> None:
    with service(tmp_path / "events", max_body_bytes=1_000) as client:
        answer = client.post("/v1/events", json=[sent(query="x" * 1_000)])

    assert answer.status_code == 413
    assert kept(tmp_path / "events") == []


def test_a_folder_that_cannot_be_written_refuses_events_and_answers_queries(
    tmp_path: Path,
) -> None:
    (tmp_path / "events").write_text("a file where the folder should be")
    with service(tmp_path / "events", explore_share=0.5) as client:
        refused = client.post("/v1/events", json=[sent()])

        assert client.get("/v1/ads?query=thing").status_code == 200
        assert client.get("/readyz").status_code == 200
    assert refused.status_code == 503
    assert "events cannot be written" in refused.json()["detail"]


def test_a_disk_without_room_refuses_events_and_answers_queries(tmp_path: Path) -> None:
    with service(tmp_path / "events", event_reserve_bytes=2**62) as client:
        refused = client.post("/v1/events", json=[sent()])

        assert client.get("/v1/ads?query=thing").status_code == 200
    assert refused.status_code == 503
    assert refused.headers["retry-after"] == "5"
    assert "nearly full" in refused.json()["detail"]


def test_a_service_that_stops_leaves_closed_files(tmp_path: Path) -> None:
    with service(tmp_path / "events") as client:
        client.post("/v1/events", json=[sent()])

    assert [path.suffix for path in event_files(tmp_path / "events")] == [".jsonl"]


def test_the_openapi_document_describes_an_event(client: TestClient) -> None:
    document = client.get("/openapi.json").json()

    body = document["paths"]["/v1/events"]["post"]["requestBody"]["content"]
    assert set(body) == {"application/json", "application/x-ndjson"}
    assert "propensity" not in body["application/json"]["schema"]["items"]["properties"]
    assert "slot" in body["application/json"]["schema"]["items"]["properties"]


def test_an_answer_names_itself_for_its_events(client: TestClient) -> None:
    answer = client.get("/v1/ads?query=thing", headers={"x-request-id": "abc"})

    assert answer.json()["request"] == answer.headers["x-request-id"] == "abc"
    assert client.get("/v1/ads?query=thing").json()["request"] != "abc"


def test_without_exploration_no_ad_has_a_propensity(client: TestClient) -> None:
    ads = client.get("/v1/ads?query=thing").json()["ads"]

    assert {tuple(ad) for ad in ads} == {("id", "title", "score")}


def test_drawn_ads_are_flagged_and_their_events_keep_the_propensity(tmp_path: Path) -> None:
    with service(tmp_path / "events", explore_share=0.5, explore_seed=0) as client:
        answer = AdsResponse.model_validate_json(client.get("/v1/ads?query=thing 7").content)
        shown = [
            sent(
                id=f"e{place}",
                kind="impression",
                query=answer.query,
                ad=ad.id,
                position=place + 1,
                request=answer.request,
                **({"slot": ad.slot} if ad.slot else {}),
            )
            for place, ad in enumerate(answer.ads)
        ]
        verdicts = client.post("/v1/events", json=shown).json()
        metrics = client.get("/metrics").text

    drawn = {ad.id for ad in answer.ads if ad.propensity is not None}
    assert 0 < len(drawn) < 10
    assert verdicts["accepted"] == 10
    propensities = {event.ad: event.propensity for event in kept(tmp_path / "events")}
    assert propensities == {ad.id: 1 / 30 if ad.id in drawn else 0.0 for ad in answer.ads}
    assert f"skim_inference_drawn_places_total {len(drawn)}.0" in metrics


def test_metrics_count_events_by_verdict(client: TestClient) -> None:
    client.post("/v1/events", json=[sent(), sent(), sent(id="e2", kind="buy")])

    metrics = client.get("/metrics").text
    for status in ("accepted", "duplicate", "rejected"):
        assert f'skim_inference_events_total{{status="{status}"}} 1.0' in metrics
    assert "skim_inference_event_commit_seconds_count 1.0" in metrics


def test_metrics_say_what_happened_since_the_bundle_was_trained(tmp_path: Path) -> None:
    until = [NOW - timedelta(hours=1)]
    with service(tmp_path / "events", lambda: until[0]) as client:
        old = (NOW - timedelta(hours=2)).isoformat()
        client.post("/v1/events", json=[sent(), sent(id="e2", time=old)])
        before = client.get("/metrics").text
        until[0] = NOW
        after = client.get("/metrics").text

    name = 'skim_inference_events_since_bundle{kind="click"}'
    assert f"{name} 1.0" in before
    assert f"{name} 0.0" in after
    assert "skim_inference_bundle_age_seconds" in after


def test_without_a_bundle_there_is_nothing_to_count_since(client: TestClient) -> None:
    client.post("/v1/events", json=[sent()])

    assert "skim_inference_events_since_bundle{" not in client.get("/metrics").text
