from __future__ import annotations

import asyncio
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from fastapi.testclient import TestClient
from prometheus_client import CollectorRegistry

from loadtests.vectors import clustered
from services.inference.app import build_app
from services.inference.catalogue import Catalogue
from services.inference.generation import Generation, generation_of
from services.inference.recall_canary import RecallCanary, recall_of
from services.inference.settings import InferenceSettings
from services.inference.view import View
from shared.ad_index import Allowed, FaissIndex, Found, IndexCard, build_index, flat_index
from shared.bundle_facts import Canary
from shared.contracts.document import Document
from shared.errors import Unavailable
from shared.vector_files import Vectors
from tests.support.asgi import until
from tests.support.encoders import BagOfWordsEncoder
from tests.support.generations import Shelf, ad, generation

ADS = 3_000
NAME = "skim_inference_index_recall"
QUERIES = tuple(
    Canary(query=query, ads=["ad-0"]) for query in ("red wine", "boat", "a sharp knife")
)


def generation_with(index: FaissIndex) -> Generation:
    rows = [Document(id=f"ad-{each}", title="x").model_dump_json().encode() for each in range(ADS)]
    return replace(generation_of("g1", BagOfWordsEncoder(), index, rows), canaries=QUERIES)


class Forgetful(FaissIndex):
    """An index whose searches miss the best ads of any query."""

    missed = 3

    def search(self, queries: Vectors, k: int, allowed: Allowed | None = None) -> Found:
        scores, positions = self.search_exactly(queries, k + self.missed, allowed)
        return scores[:, self.missed :], positions[:, self.missed :]


def forgetful() -> FaissIndex:
    return Forgetful(flat_index(clustered(ADS, 64)).index, IndexCard(kind="flat"))


def measured(view: View) -> float | None:
    registry = CollectorRegistry()
    canary = RecallCanary(lambda: view, registry)

    async def once() -> None:
        watching = asyncio.create_task(canary.watch(seconds=3_600))
        await until(lambda: not math.isnan(registry.get_sample_value(NAME) or 0.0))
        watching.cancel()

    asyncio.run(asyncio.wait_for(once(), 20))
    return registry.get_sample_value(NAME)


def test_a_graph_that_finds_everything_has_recall_1() -> None:
    index = build_index(clustered(ADS, 64), "hnsw", width=512)

    assert measured(Catalogue(generation_with(index)).view) == pytest.approx(1, abs=0.04)


def test_what_a_graph_has_lost_is_told() -> None:
    view = Catalogue(generation_with(forgetful())).view

    assert measured(view) == pytest.approx(0.7)


def test_only_live_ads_are_missed_and_where_there_are_none_nothing_is() -> None:
    view = Catalogue(generation_with(forgetful())).view
    [vector] = BagOfWordsEncoder().encode(["boat"])
    best = flat_index(clustered(ADS, 64)).search(vector[None], 10)[1][0]
    is_live = np.zeros_like(view.is_live)
    is_live[best[:6]] = True

    assert recall_of(view, vector) == pytest.approx(0.7)
    assert recall_of(replace(view, is_live=is_live), vector) == pytest.approx(0.5)
    assert recall_of(replace(view, is_live=np.zeros_like(is_live)), vector) == 1


@pytest.mark.parametrize("served", [None, generation("v1", [ad("red-wine")])])
def test_without_a_bundle_or_its_canaries_there_is_no_figure(served: Generation | None) -> None:
    registry, looks = CollectorRegistry(), []

    def view() -> View:
        looks.append(served)
        if served is None:
            raise Unavailable("nothing to serve")
        return Catalogue(served).view

    async def look_again() -> None:
        watching = asyncio.create_task(RecallCanary(view, registry).watch(seconds=0))
        await until(lambda: len(looks) > 2)
        watching.cancel()

    asyncio.run(asyncio.wait_for(look_again(), 20))
    assert math.isnan(registry.get_sample_value(NAME) or 0.0)


def test_the_running_service_measures_unless_told_not_to(tmp_path: Path) -> None:
    shelf = Shelf(tmp_path)
    shelf.put("v1", replace(generation("v1", [ad("red-wine")]), canaries=QUERIES), current=True)
    pages = {}
    for seconds in (3_600, 0):
        settings = InferenceSettings(canary_seconds=seconds)
        with TestClient(build_app(settings, shelf.generations())) as client:
            read = (client.get("/metrics").text for _ in range(1_000))
            pages[seconds] = any(f"{NAME} 1.0" in page for page in read)

    assert pages == {3_600: True, 0: False}
