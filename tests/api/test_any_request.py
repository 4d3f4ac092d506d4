"""Whatever is asked, each service answers as its OpenAPI document says, and never with an error of its own."""

from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI
from schemathesis.python.asgi import shutdown_lifespans
from structlog.testing import capture_logs

from services.augmentation.app import build_app as augmentation_app
from services.augmentation.dispatcher import Dispatcher
from services.augmentation.settings import AugmentationSettings
from services.dashboard.app import build_app as dashboard_app
from services.dashboard.settings import DashboardSettings
from services.generation.app import build_app as generation_app
from services.generation.generator import QueryGenerator
from services.generation.sampling import Sampling
from services.generation.settings import GenerationSettings
from services.inference.app import build_app as inference_app
from services.inference.settings import InferenceSettings
from services.mapping.app import build_app as mapping_app
from services.mapping.index_builder import build_index
from services.mapping.serving import serve_index
from services.mapping.settings import MappingSettings
from shared.contracts.document import Document
from shared.dataset import Query
from shared.keys import Scope, add_key, new_key
from shared.prompt import PromptTokenizer
from shared.settings import CommonSettings
from shared.store import MemoryStore
from shared.web.access import access_of
from tests.support.any_requests import Findings, ask_anything, ask_until
from tests.support.encoders import BagOfWordsEncoder
from tests.support.generations import Shelf, ad
from tests.support.generations import generation as ads_generation
from tests.support.language_models import FakeLanguageModel
from tests.support.queues import FinishingQueue
from tests.support.tiny_models import write_tokenizer

TITLES = ("red wine", "white wine", "fishing boat")


def augmentation(_: Path) -> FastAPI:
    store = MemoryStore()
    dispatcher = Dispatcher(store, FinishingQueue(store), batch_size=2, seconds=60)
    for title in TITLES:
        job = store.accept([Document(id=title[0], title=title)])
        dispatcher.dispatch(job.id, [title[0]])
    return augmentation_app(AugmentationSettings(), store, dispatcher)


def dashboard(home: Path) -> FastAPI:
    away = httpx.MockTransport(lambda _: httpx.Response(503))
    return dashboard_app(CommonSettings(home=home), DashboardSettings(), away)


def generation(home: Path) -> FastAPI:
    prompts = PromptTokenizer(write_tokenizer(home))
    model = FakeLanguageModel(prompts, lambda *_: "woodwind\nreed")
    generator = QueryGenerator(model, prompts, Sampling())
    return generation_app(CommonSettings(home=home), GenerationSettings(), generator)


def inference(home: Path) -> FastAPI:
    shelf = Shelf(home)
    ads = [ad(str(number), title) for number, title in enumerate(TITLES)]
    shelf.put("v1", ads_generation("v1", ads), current=True)
    shelf.put("v2", ads_generation("v2", ads[:2]))
    return inference_app(InferenceSettings(timeout_ms=60_000, max_changes=50), shelf.generations())


def mapping(home: Path) -> FastAPI:
    folder, encoder, settings = home / "mapping", BagOfWordsEncoder(), MappingSettings()
    queries = [Query(id=str(number), text=title) for number, title in enumerate(TITLES)]
    build_index(queries, encoder, folder, lambda *_: None)
    return mapping_app(settings, lambda: serve_index(folder, encoder, settings))


SERVICES = (augmentation, dashboard, generation, inference, mapping)
every_service = pytest.mark.parametrize("service", SERVICES, ids=lambda service: service.__name__)


@pytest.fixture(scope="module", autouse=True)
def _lifespans_end() -> Iterator[None]:
    yield
    shutdown_lifespans()


def guarded(service: Callable[[Path], FastAPI], home: Path) -> tuple[FastAPI, str]:
    """Return a service that asks for keys, and one that opens everything."""
    key, kept = new_key("everything", list(Scope))
    add_key(home / "keys", kept)
    app = service(home)
    app.state.access = access_of(CommonSettings(home=home, auth="keys", requests_per_second=1e9))
    return app, key


def check(findings: Findings, cases: int) -> None:
    assert not findings.failures, "\n\n".join(findings.failures[:5])
    assert findings.cases >= cases
    assert findings.statuses[200]
    assert findings.statuses[401]


@every_service
def test_any_request_is_answered_as_the_document_says(
    service: Callable[[Path], FastAPI], tmp_path: Path
) -> None:
    app, key = guarded(service, tmp_path)

    with capture_logs() as logs:
        findings = ask_anything(app, key=key, examples=5)

    check(findings, cases=40)
    assert [entry for entry in logs if entry["log_level"] == "error"] == []


@pytest.mark.slow
@every_service
def test_two_thousand_requests_are_answered_as_the_document_says(
    service: Callable[[Path], FastAPI], tmp_path: Path
) -> None:
    app, key = guarded(service, tmp_path)

    check(ask_until(app, key=key, cases=2_000, examples=100), cases=2_000)
