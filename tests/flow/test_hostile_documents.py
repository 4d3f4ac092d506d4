"""Hostile documents through the whole chain, with the worst student: no canary in labels, exports, pages or logs."""

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from structlog.testing import capture_logs

from services.augmentation.app import build_app as augmentation_app
from services.augmentation.augmenter import Augmenter
from services.augmentation.dispatcher import Dispatcher
from services.augmentation.settings import AugmentationSettings
from services.dashboard.app import build_app as dashboard_app
from services.dashboard.settings import DashboardSettings
from services.generation.app import build_app as generation_app
from services.generation.generator import QueryGenerator
from services.generation.sampling import Sampling
from services.generation.settings import GenerationSettings
from services.mapping.app import build_app as mapping_app
from services.mapping.index_builder import build_index
from services.mapping.serving import serve_index
from services.mapping.settings import MappingSettings
from shared.clients import AugmentationClient, GenerationClient, MappingClient
from shared.contracts.augmentation import JobState
from shared.dataset import Query
from shared.prompt import PromptTokenizer
from shared.settings import CommonSettings
from shared.store import MemoryStore
from tests.support.encoders import BagOfWordsEncoder
from tests.support.hostile_documents import CANARY_HOST, HOSTILE
from tests.support.in_process import ImmediateQueue, InProcess
from tests.support.language_models import FakeLanguageModel
from tests.support.tiny_models import END_TOKEN, write_chat_tokenizer

AT_ONCE = 20


@dataclass(frozen=True)
class Chain:
    """The running services, as their users reach them."""

    augmentation: AugmentationClient
    to_augmentation: InProcess
    dashboard: TestClient


@pytest.fixture
def copying_student(tmp_path: Path) -> QueryGenerator:
    """Writes down what it read, whole and in pieces."""
    prompts = PromptTokenizer(write_chat_tokenizer(tmp_path), end_token=END_TOKEN)

    def write(_: str, prompt: str) -> str:
        return "\n".join([prompt, *prompt.replace(". ", "\n").replace(", ", "\n").split()])

    return QueryGenerator(FakeLanguageModel(prompts, write), prompts, Sampling())


@pytest.fixture
def chain(tmp_path: Path, copying_student: QueryGenerator) -> Iterator[Chain]:
    """Everything is similar enough, so that whatever is written becomes a label."""
    folder, encoder = tmp_path / "mapping", BagOfWordsEncoder()
    texts = ("red wine", "fishing boat", "kitchen knife")
    queries = [Query(id=text.replace(" ", "-"), text=text) for text in texts]
    build_index(queries, encoder, folder, lambda *_: None)
    settings = MappingSettings(min_similarity=-1.0, min_support=0.0, min_log_probability=None)
    store = MemoryStore()
    with ExitStack() as stack:

        def start(app: FastAPI) -> TestClient:
            return stack.enter_context(TestClient(app))

        generation = start(generation_app(CommonSettings(), GenerationSettings(), copying_student))
        mapping = start(mapping_app(settings, lambda: serve_index(folder, encoder, settings)))
        augmenter = Augmenter(
            store,
            GenerationClient("http://generation", attempts=1, transport=InProcess(generation)),
            MappingClient("http://mapping", attempts=1, transport=InProcess(mapping)),
            lease_seconds=60,
        )
        dispatcher = Dispatcher(
            store, ImmediateQueue(augmenter.augment), batch_size=16, seconds=60
        )
        augmentation = start(augmentation_app(AugmentationSettings(), store, dispatcher))
        to_augmentation = InProcess(augmentation)
        pages = httpx.MockTransport(to_augmentation.handle_request)
        yield Chain(
            AugmentationClient("http://augmentation", attempts=1, transport=to_augmentation),
            to_augmentation,
            start(dashboard_app(CommonSettings(), DashboardSettings(), pages)),
        )


def test_no_canary_reaches_labels_exports_pages_or_logs(chain: Chain) -> None:
    with capture_logs() as logs:
        for start in range(0, len(HOSTILE), AT_ONCE):
            job = chain.augmentation.post_documents(HOSTILE[start : start + AT_ONCE])
            assert chain.augmentation.job(job.id).state is JobState.DONE

    labels = list(chain.augmentation.export_labels())
    written = list(chain.augmentation.export_synthetic_queries())
    explained = [chain.augmentation.labels(document.id) for document in HOSTILE]
    pages = [chain.dashboard.get(path).text for path in ("/", "/v1/overview", "/metrics")]
    assert len(labels) > len(HOSTILE)
    assert sum(len(each.labels) for each in explained) == len(labels)
    for told in (*labels, *written, *explained, *pages, *logs):
        assert CANARY_HOST not in str(told).casefold()
    assert f"{len(HOSTILE)}" in pages[0]
