from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor

import pytest

from services.inference.app import build_app
from services.inference.settings import InferenceSettings
from tests.support import generations
from tests.support.asgi import Call, started, until
from tests.support.generations import Shelf
from tests.support.inference_app import TITLES, HeldEncoder, bundle, client_of


@pytest.fixture
def held(shelf: Shelf) -> HeldEncoder:
    encoder = HeldEncoder()
    ads = [generations.ad(title.replace(" ", "-")) for title in TITLES]
    shelf.put("v1", generations.generation("v1", ads, encoder=encoder), current=True)
    encoder.holds = True
    return encoder


def test_an_answer_under_way_keeps_its_generation_and_ads_through_a_switch(
    shelf: Shelf, held: HeldEncoder
) -> None:
    shelf.put("v2", bundle("v2"))
    with client_of(shelf) as client, ThreadPoolExecutor(1) as caller:
        asked = caller.submit(client.get, "/v1/ads?query=boat&k=9")
        assert held.entered.acquire(timeout=30)
        client.delete("/v1/ads/red-wine").raise_for_status()
        assert client.post("/v1/bundles/v2:activate").json()["generation"] == "v2"
        held.gate.set()

        answer = asked.result(timeout=30).json()

    assert (answer["generation"], answer["ads_version"], len(answer["ads"])) == ("v1", 0, 4)


def test_a_full_queue_refuses_and_says_when_to_come_back(shelf: Shelf, held: HeldEncoder) -> None:
    settings = InferenceSettings(threads=1, max_waiting=0)
    with client_of(shelf, settings) as client, ThreadPoolExecutor(1) as caller:
        asked = caller.submit(client.get, "/v1/ads?query=boat")
        assert held.entered.acquire(timeout=30)
        refused = client.get("/v1/ads?query=knife")
        assert client.get("/readyz").status_code == 200
        held.gate.set()

        assert asked.result(timeout=30).status_code == 200
        assert 'skim_inference_refusals_total{reason="full"} 1.0' in client.get("/metrics").text
    assert refused.status_code == 503
    assert refused.headers["retry-after"] == "1"
    assert refused.json()["type"] == "urn:skim:problem:unavailable"


def test_who_leaves_while_waiting_costs_no_work(shelf: Shelf, held: HeldEncoder) -> None:
    asyncio.run(_leave_while_waiting(shelf, held))

    assert held.asked == 2


async def _leave_while_waiting(shelf: Shelf, held: HeldEncoder) -> None:
    app = build_app(InferenceSettings(threads=1, timeout_ms=60_000), shelf.generations())
    async with started(app):
        first = Call(app, "/v1/ads", query="query=boat")
        await until(lambda: held.asked == 1)
        second = Call(app, "/v1/ads", query="query=knife")
        third = Call(app, "/v1/ads", query="query=wine")
        await until(lambda: app.state.serving.admission.waiting == 2)
        second.leave()
        await second.task
        held.gate.set()
        await first.task
        await third.task

    assert (first.status, third.status) == (200, 200)
