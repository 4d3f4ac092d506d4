from collections.abc import Callable, Sequence

import pytest
from fastapi.testclient import TestClient

from services.augmentation.ads import AdPublisher
from services.augmentation.app import build_app
from services.augmentation.augmenter import Augmenter
from services.augmentation.dispatcher import Dispatcher
from services.augmentation.settings import AugmentationSettings
from shared.contracts.augmentation import JobState
from shared.contracts.document import Document
from shared.contracts.inference import Ad, AdsChanged
from shared.contracts.synthetic_queries import WrittenQueries
from shared.errors import Unavailable
from shared.store import MemoryStore, Remap, Stored
from tests.services.augmentation.test_augmenter import FakeGeneration, FakeMapping

D1 = Document(id="d1", title="oboe")
D1_LATER = Document(id="d1", title="oboe d'amore")
WRITTEN = WrittenQueries(queries=["double reed", "woodwind"])


def stored(document: Document, written: WrittenQueries = WRITTEN) -> Stored:
    return Stored(document, "g1", written)


def ad(document: Document, queries: list[str] | None = WRITTEN.queries) -> Ad:
    return Ad(**document.model_dump(), synthetic_queries=queries)


class FakeAds:
    """What the inference service would hold. `meanwhile` happens after a PUT was sent, before it returns."""

    def __init__(self) -> None:
        self.ads: dict[str, Ad] = {}
        self.deleted: set[tuple[str, str]] = set()
        self.is_away = False
        self.meanwhile: list[Callable[[], object]] = []
        self.puts = 0

    def put_ads(self, ads: Sequence[Ad], *, unless_deleted: bool = False) -> AdsChanged:
        if self.is_away:
            raise Unavailable("away")
        self.puts += 1
        for each in ads:
            if not (unless_deleted and (each.id, each.content_hash) in self.deleted):
                self.ads[each.id] = each
        if self.meanwhile:
            self.meanwhile.pop()()
        return AdsChanged(ads_version=1, ads=len(self.ads))

    def delete_ads(self, ad_ids: Sequence[str]) -> AdsChanged:
        if self.is_away:
            raise Unavailable("away")
        for each in ad_ids:
            if each in self.ads:
                self.deleted.add((each, self.ads.pop(each).content_hash))
        return AdsChanged(ads_version=1, ads=len(self.ads))


@pytest.fixture
def ads() -> FakeAds:
    return FakeAds()


@pytest.fixture
def publisher(store: MemoryStore, ads: FakeAds) -> AdPublisher:
    return AdPublisher(store, ads)


@pytest.fixture
def augmenter(store: MemoryStore, publisher: AdPublisher) -> Augmenter:
    return Augmenter(store, FakeGeneration(), FakeMapping(), lease_seconds=60, ads=publisher)


def test_an_augmented_document_is_an_ad(
    store: MemoryStore, augmenter: Augmenter, ads: FakeAds
) -> None:
    job = store.accept([D1])
    augmenter.augment(job.id, ["d1"])

    [known] = store.stored(["d1"]).values()
    assert ads.ads == {"d1": ad(D1, known.written.queries)}
    assert known.written.queries
    assert store.job(job.id).state == JobState.DONE


def test_while_the_inference_service_is_away_a_document_waits_and_is_not_written_twice(
    store: MemoryStore, publisher: AdPublisher, ads: FakeAds
) -> None:
    generation = FakeGeneration()
    augmenter = Augmenter(store, generation, FakeMapping(), lease_seconds=0, ads=publisher)
    job = store.accept([D1])
    ads.is_away = True
    with pytest.raises(Unavailable):
        augmenter.augment(job.id, ["d1"])
    assert (store.job(job.id).done, ads.ads) == (0, {})
    ads.is_away = False
    augmenter.augment(job.id, ["d1"])

    assert ads.ads["d1"].content_hash == D1.content_hash
    assert store.job(job.id).done == 1
    assert generation.calls == [["d1"]]


def test_a_slow_worker_does_not_leave_an_older_content(
    store: MemoryStore, publisher: AdPublisher, ads: FakeAds
) -> None:
    store.accept([D1])
    ads.meanwhile.append(lambda: store.accept([D1_LATER]))
    publisher.publish([stored(D1)])

    assert ads.ads == {"d1": ad(D1_LATER, None)}


def test_a_slow_worker_does_not_take_away_what_was_written_for_the_newer_content(
    store: MemoryStore, publisher: AdPublisher, ads: FakeAds
) -> None:
    newer = WrittenQueries(queries=["oboe of love"])

    def change() -> None:
        store.accept([D1_LATER])
        store.put_synthetic_queries(D1_LATER, "g1", newer)
        publisher.publish([stored(D1_LATER, newer)])

    store.accept([D1])
    ads.meanwhile.append(change)
    publisher.publish([stored(D1)])

    assert ads.ads == {"d1": ad(D1_LATER, newer.queries)}


def test_a_document_that_is_removed_while_it_is_published_is_no_ad(
    store: MemoryStore, publisher: AdPublisher, ads: FakeAds
) -> None:
    store.accept([D1])
    ads.meanwhile.append(lambda: store.remove_documents(["d1"]))
    publisher.publish([stored(D1)])

    assert ads.ads == {}


def test_an_ad_that_was_deleted_on_purpose_is_not_brought_back_by_a_retry(
    store: MemoryStore, publisher: AdPublisher, ads: FakeAds
) -> None:
    store.accept([D1])
    publisher.publish([stored(D1)])
    ads.delete_ads(["d1"])
    publisher.publish([stored(D1)])
    assert ads.ads == {}
    store.accept([D1_LATER])
    publisher.publish([stored(D1_LATER)])

    assert ads.ads == {"d1": ad(D1_LATER)}


def test_documents_that_never_stay_the_same_are_tried_again_later(
    store: MemoryStore, publisher: AdPublisher, ads: FakeAds
) -> None:
    store.accept([D1])
    titles = iter(range(100))

    def change() -> None:
        store.accept([Document(id="d1", title=f"oboe {next(titles)}")])
        ads.meanwhile.append(change)

    ads.meanwhile.append(change)
    with pytest.raises(Unavailable, match="faster"):
        publisher.publish([stored(D1)])


def test_a_removed_document_is_no_ad_and_asking_again_after_503_takes_it_out(
    store: MemoryStore, dispatcher: Dispatcher, publisher: AdPublisher, ads: FakeAds
) -> None:
    app = build_app(AugmentationSettings(), store, dispatcher, publisher)
    with TestClient(app) as client:
        store.accept([D1])
        publisher.publish([stored(D1)])
        ads.is_away = True
        assert client.delete("/v1/documents/d1").status_code == 503
        ads.is_away = False
        assert client.delete("/v1/documents/d1").status_code == 404
        assert ads.ads == {}

        store.accept([D1_LATER])
        publisher.publish([stored(D1_LATER)])
        assert client.request("DELETE", "/v1/documents", json=["d1"]).json()["removed"] == 1
        assert ads.ads == {}


def test_a_remap_publishes_nothing(store: MemoryStore, augmenter: Augmenter, ads: FakeAds) -> None:
    job = store.accept([D1])
    augmenter.augment(job.id, ["d1"])
    puts = ads.puts
    remap = store.begin_remap(Remap())
    augmenter.augment(remap.id, list(store.accept_page(remap.id, 10).document_ids))

    assert ads.puts == puts
