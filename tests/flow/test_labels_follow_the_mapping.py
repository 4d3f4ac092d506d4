"""The real mapping service and what follows it, together: train queries change, labels come after, nothing is generated."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Self

import pytest
from fastapi.testclient import TestClient

from services.augmentation.augmenter import Augmenter
from services.augmentation.dispatcher import Dispatcher
from services.augmentation.follower import Follower
from services.mapping.app import build_app
from services.mapping.index_builder import build_index
from services.mapping.serving import serve_index
from services.mapping.settings import MappingSettings
from shared.clients import MappingClient
from shared.contracts.document import Document
from shared.contracts.mapping import TrainQuery, TrainQueryId
from shared.dataset import Query
from shared.store import MemoryStore, Store
from tests.support.encoders import BagOfWordsEncoder
from tests.support.in_process import InProcess
from tests.support.live_mapping import Scribe
from tests.support.queues import FakeQueue

OBOE = Document(id="oboe", title="oboe", text="double reed, wind instrument")
SAW = Document(id="saw", title="saw", text="sharp tool")
QUERIES = [Query(id="q-reed", text="double reed"), Query(id="q-tool", text="sharp tool")]


class Suite:
    """The mapping service from its folder, a store, a worker and a follower, driven by hand."""

    def __init__(self, folder: Path, store: Store) -> None:
        self.folder, self.store = folder, store
        self.scribe, self.queue = Scribe(), FakeQueue()

    def __enter__(self) -> Self:
        settings = MappingSettings(min_similarity=0.6)
        app = build_app(settings, lambda: serve_index(self.folder, BagOfWordsEncoder(), settings))
        self._service = TestClient(app)
        self._service.__enter__()
        self.mapping = MappingClient(
            "http://mapping", attempts=1, transport=InProcess(self._service)
        )
        self.dispatcher = Dispatcher(self.store, self.queue, batch_size=2, seconds=60)
        self._augmenter = Augmenter(self.store, self.scribe, self.mapping, lease_seconds=60)
        self._follower = Follower(self.store, self.mapping, self.dispatcher, window=100)
        return self

    def __exit__(self, *_: object) -> None:
        self._service.__exit__(None, None, None)

    def settle(self) -> None:
        """Follow and work until nothing is left to do."""
        for _ in range(6):
            self._follower.follow()
            while self.queue.messages:
                self._augmenter.augment(*self.queue.messages.pop(0))

    def post(self, *documents: Document) -> None:
        job = self.store.accept(documents)
        self.dispatcher.dispatch(job.id, [document.id for document in documents])
        self.settle()

    def labels(self, document_id: str) -> set[str]:
        return {label.query_id for label in self.store.labels(document_id).labels}


@pytest.fixture(params=["memory", "redis"])
def suite(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Suite]:
    store = MemoryStore() if request.param == "memory" else request.getfixturevalue("redis_store")
    build_index(QUERIES, BagOfWordsEncoder(), tmp_path / "mapping", lambda *_: None)
    with Suite(tmp_path / "mapping", store) as opened:
        opened.settle()
        opened.post(OBOE, SAW)
        yield opened


def test_old_documents_gain_what_is_put_and_lose_what_is_deleted(suite: Suite) -> None:
    asked = list(suite.scribe.asked)
    assert (suite.labels("oboe"), suite.labels("saw")) == ({"q-reed"}, {"q-tool"})

    suite.mapping.put_train_queries([TrainQuery(id="q-wind", text="wind instrument")])
    suite.settle()

    assert (suite.labels("oboe"), suite.labels("saw")) == ({"q-reed", "q-wind"}, {"q-tool"})
    suite.mapping.delete_train_queries([TrainQueryId(id="q-reed")])
    suite.settle()
    assert suite.labels("oboe") == {"q-wind"}
    assert suite.scribe.asked == asked


def test_another_text_of_a_train_query_moves_its_labels(suite: Suite) -> None:
    suite.mapping.put_train_queries([TrainQuery(id="q-reed", text="sharp tool saw")])
    suite.settle()

    assert (suite.labels("oboe"), suite.labels("saw")) == (set(), {"q-tool", "q-reed"})


def test_what_changed_while_nobody_followed_is_followed_after_a_restart(suite: Suite) -> None:
    suite.mapping.put_train_queries([TrainQuery(id="q-wind", text="wind instrument")])
    suite.mapping.delete_train_queries([TrainQueryId(id="q-tool")])

    with Suite(suite.folder, suite.store) as again:
        again.settle()

        assert (again.labels("oboe"), again.labels("saw")) == ({"q-reed", "q-wind"}, set())
        assert again.scribe.asked == []


def test_an_index_of_another_encoder_remaps_everything(suite: Suite) -> None:
    other = BagOfWordsEncoder("words-2")
    queries = [Query(id="q-cut", text="sharp tool"), Query(id="q-wind", text="wind instrument")]
    build_index(queries, other, suite.folder, lambda *_: None)
    settings = MappingSettings(min_similarity=0.6)
    app = build_app(settings, lambda: serve_index(suite.folder, other, settings))

    with TestClient(app) as service:
        client = MappingClient("http://mapping", attempts=1, transport=InProcess(service))
        augmenter = Augmenter(suite.store, suite.scribe, client, lease_seconds=60)
        follower = Follower(suite.store, client, suite.dispatcher, window=100)
        for _ in range(6):
            follower.follow()
            while suite.queue.messages:
                augmenter.augment(*suite.queue.messages.pop(0))

    assert (suite.labels("oboe"), suite.labels("saw")) == ({"q-wind"}, {"q-cut"})
    assert suite.store.labels("oboe").labels[0].provenance.encoder == "words-2"
