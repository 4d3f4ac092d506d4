"""Every service in process, with fakes for models, queue and neighbours."""

from functools import partial
from pathlib import Path

import httpx
from fastapi import FastAPI

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
from services.inference.event_desk import EventDesk
from services.inference.settings import InferenceSettings
from services.mapping.app import build_app as mapping_app
from services.mapping.index_builder import build_index
from services.mapping.serving import serve_index
from services.mapping.settings import MappingSettings
from shared.contracts.augmentation import Job
from shared.contracts.document import Document
from shared.dataset import Query
from shared.prompt import PromptTokenizer
from shared.settings import CommonSettings
from shared.store import MemoryStore, Remap
from tests.support.encoders import BagOfWordsEncoder
from tests.support.generations import Shelf, ad
from tests.support.generations import generation as ads_generation
from tests.support.language_models import FakeLanguageModel
from tests.support.queues import FinishingQueue
from tests.support.tiny_models import END_TOKEN, write_tokenizer

TITLES = ("red wine", "white wine", "fishing boat")


class _SweptStore(MemoryStore):
    """Remaps are over at once, as if nothing had labels: nobody sweeps here, and their events would not end."""

    def begin_remap(self, remap: Remap) -> Job:
        job = super().begin_remap(remap)
        self.accept_page(job.id, 1_000_000)
        return self.job(job.id)


def augmentation(_: Path) -> FastAPI:
    store = _SweptStore()
    dispatcher = Dispatcher(store, FinishingQueue(store), batch_size=2, seconds=60)
    for title in TITLES:
        job = store.accept([Document(id=title[0], title=title)])
        dispatcher.dispatch(job.id, [title[0]])
    return augmentation_app(AugmentationSettings(), store, dispatcher)


def dashboard(home: Path) -> FastAPI:
    away = httpx.MockTransport(lambda _: httpx.Response(503))
    return dashboard_app(CommonSettings(home=home), DashboardSettings(), away)


def generation(home: Path) -> FastAPI:
    prompts = PromptTokenizer(write_tokenizer(home), end_token=END_TOKEN)
    model = FakeLanguageModel(prompts, lambda *_: "woodwind\nreed")
    generator = QueryGenerator(model, prompts, Sampling())
    return generation_app(CommonSettings(home=home), GenerationSettings(), generator)


def inference(home: Path) -> FastAPI:
    shelf = Shelf(home)
    ads = [ad(str(number), title) for number, title in enumerate(TITLES)]
    shelf.put("v1", ads_generation("v1", ads), current=True)
    shelf.put("v2", ads_generation("v2", ads[:2]))
    settings = InferenceSettings(timeout_ms=60_000, max_changes=50, explore_share=0.5)
    open_desk = partial(EventDesk, home / "events", settings, lambda: None)
    return inference_app(settings, shelf.generations(), open_desk=open_desk)


def mapping(home: Path) -> FastAPI:
    folder, encoder, settings = home / "mapping", BagOfWordsEncoder(), MappingSettings()
    queries = [Query(id=str(number), text=title) for number, title in enumerate(TITLES)]
    build_index(queries, encoder, folder, lambda *_: None)
    return mapping_app(settings, lambda: serve_index(folder, encoder, settings))


SERVICES = (augmentation, dashboard, generation, inference, mapping)
