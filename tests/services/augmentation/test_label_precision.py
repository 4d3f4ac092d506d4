import asyncio
import math

import pytest
from fastapi.testclient import TestClient
from prometheus_client import CollectorRegistry

from services.augmentation.app import build_app
from services.augmentation.dispatcher import Dispatcher
from services.augmentation.label_precision import ReviewedLabels
from services.augmentation.settings import AugmentationSettings
from shared.contracts.reviews import ReviewVerdict, Verdict
from shared.store import MemoryStore, RedisStore
from tests.support.asgi import until
from tests.support.documents import document_of, label_of, revision_of

ACCEPT, REJECT = ReviewVerdict.ACCEPT, ReviewVerdict.REJECT
PRECISION = "skim_augmentation_label_precision"
D1, D2 = document_of("d1"), document_of("d2")


@pytest.fixture
def reviewed(store: MemoryStore) -> MemoryStore:
    store.accept([D1, D2])
    store.write_labels("d1", revision_of(D1, label_of("q1", 0.9), label_of("q2", 0.8)))
    store.write_labels("d2", revision_of(D2, label_of("q1", 0.9), label_of("q3", 0.8)))
    said = [("d1", "q1", ACCEPT), ("d1", "q2", REJECT), ("d2", "q3", ACCEPT), ("d2", "q9", REJECT)]
    store.put_reviews(
        [Verdict(document_id=each, query_id=query, verdict=how) for each, query, how in said]
    )
    return store


def counted(store: MemoryStore) -> dict[str, float | None]:
    registry = CollectorRegistry()
    ReviewedLabels(store, registry).count()
    name = "skim_augmentation_reviewed_labels"
    verdicts = {
        each: registry.get_sample_value(name, {"verdict": each}) for each in ("accept", "reject")
    }
    return verdicts | {"precision": registry.get_sample_value(PRECISION)}


def test_only_verdicts_on_labels_of_now_count(reviewed: MemoryStore) -> None:
    assert counted(reviewed) == {"accept": 2, "reject": 1, "precision": pytest.approx(2 / 3)}


def test_a_label_that_is_gone_counts_no_more(reviewed: MemoryStore) -> None:
    reviewed.write_labels("d1", revision_of(D1, label_of("q1", 0.9), generator="slm-2"))
    reviewed.remove_documents(["d2"])

    assert counted(reviewed) == {"accept": 1, "reject": 0, "precision": 1}


def test_without_verdicts_there_is_no_precision(store: MemoryStore) -> None:
    precision = counted(store)["precision"]

    assert precision is not None
    assert math.isnan(precision)


def test_a_store_that_is_away_ends_no_watch() -> None:
    registry = CollectorRegistry()
    away = RedisStore.at("redis://127.0.0.1:1/0", retries=0)

    async def watch() -> bool:
        watching = asyncio.create_task(ReviewedLabels(away, registry).watch(seconds=0.01))
        await asyncio.sleep(0.1)
        goes_on = not watching.done()
        watching.cancel()
        return goes_on

    assert asyncio.run(watch())


def test_the_running_service_counts_again_and_again(
    reviewed: MemoryStore, dispatcher: Dispatcher
) -> None:
    app = build_app(AugmentationSettings(review_seconds=0.01), reviewed, dispatcher)

    async def follow() -> None:
        async with app.router.lifespan_context(app):
            registry = app.state.registry
            await until(lambda: registry.get_sample_value(PRECISION) == pytest.approx(2 / 3))
            reviewed.put_reviews([Verdict(document_id="d1", query_id="q2", verdict=None)])
            await until(lambda: registry.get_sample_value(PRECISION) == 1)

    asyncio.run(asyncio.wait_for(follow(), 20))
    with TestClient(app) as client:
        assert "skim_augmentation_reviewed_labels" in client.get("/metrics").text
