"""The whole chain in process: every service is the real application, reached through its real client; only the network is missing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from fastapi import FastAPI
from fastapi.testclient import TestClient

from services.augmentation.ads import AdPublisher
from services.augmentation.app import build_app as augmentation_app
from services.augmentation.augmenter import Augmenter
from services.augmentation.dispatcher import Dispatcher
from services.augmentation.settings import AugmentationSettings
from services.cli.training import train_on
from services.generation.app import build_app as generation_app
from services.generation.generator import QueryGenerator
from services.generation.settings import GenerationSettings
from services.inference.app import build_app as inference_app
from services.inference.generations import Generations
from services.inference.live_ads import LiveAds
from services.inference.settings import InferenceSettings
from services.mapping.app import build_app as mapping_app
from services.mapping.index_builder import build_index
from services.mapping.serving import open_mapping
from services.mapping.settings import MappingSettings
from services.training.classifiers import ClassifierSettings
from services.training.embeddings import CachedEncoder
from services.training.publish import bundle_model
from services.training.serving_facts import serving_facts
from services.training.train import TrainSettings
from shared.clients import AugmentationClient, GenerationClient, InferenceClient, MappingClient
from shared.contracts.synthetic_queries import SyntheticQueries
from shared.dataset import Dataset, Pairs
from shared.encoder import SentenceEncoder
from shared.prompt import PromptTokenizer
from shared.settings import CommonSettings
from shared.store import MemoryStore
from tests.support.in_process import ImmediateQueue, InProcess

TAU = 0.9
"""The tiny encoder is random: two texts without a common word have a cosine of about .7."""
NEIGHBOURS = 3
WRITTEN = {
    "oboe": ["woodwind double reed"],
    "flute": ["long wind instrument"],
    "saw": ["sharp tool for cutting", "cutting wood with a knife"],
    "pear": ["sweet fruit"],
    # Titles the encoder cannot tell apart: it knows none of these words.
    "hautbois": ["musical instrument", "a double reed woodwind"],
    "naginata": ["sharp tool cutting", "long metal knife"],
    "zwieback": ["bread sweet baked"],
    "tarboosh": [],
}
"""Title -> what the fake SLM writes of it, the likeliest first: the shortest."""
TRAIN_QUERIES = {
    "q-reed": "double reed woodwind",
    "q-wind": "wind instrument",
    "q-sharp": "sharp cutting tool",
    "q-knife": "knife for cutting wood",
    "q-baked": "sweet baked bread",
    "q-fruit": "sweet fruit",
    "q-cup": "metal cup",
}
CLICKS = {
    "q-reed": {"oboe": 3.0},
    "q-wind": {"flute": 2.0},
    "q-sharp": {"saw": 5.0},
    "q-fruit": {"pear": 1.0},
}
"""An old system that knew titles only: the last four documents were never shown."""
DOCUMENTS, TRAIN_QUERIES_OF_THINGS = 30, 500
"""For the real models."""
UNSEEN_WORDING = "woodwind with a double reed"
TRAINING = TrainSettings(
    tower="title", classifiers=ClassifierSettings(epochs=40, pull=1.0, learning_rate=0.5)
)


class LegibleNoise(PromptTokenizer):
    """Reads what a random model writes as letters, spaces and line ends."""

    def decode(self, ids: Sequence[int]) -> str:
        return "".join("aeioudlnrst \n"[each % 13] for each in ids)


@dataclass(frozen=True)
class Suite:
    """The running services, and what they work with."""

    common: CommonSettings
    store: MemoryStore
    augmentation: AugmentationClient
    inference: InferenceClient
    to_generation: InProcess

    def publish(
        self, dataset: Dataset, labels: Pairs, written: Sequence[SyntheticQueries] = ()
    ) -> str:
        """Train, bundle, activate, and let the inference service take it; return the version."""
        folder = self.common.models / "encoder"
        encoder = CachedEncoder(SentenceEncoder(folder))
        model = train_on(
            dataset, labels, written, encoder, TRAINING, lambda done, total: None
        ).model
        facts = serving_facts(model.vectors, dataset, labels, written, encoder)
        bundles = self.common.bundles
        version = f"v{len(list(bundles.glob('v*')))}"  # the same twice in a second is two bundles
        bundle = bundle_model(
            model, dataset.documents, folder, bundles, facts=facts, version=version
        )
        return self.inference.activate(bundle.name).generation

    def labels(self) -> Pairs:
        """Return query id -> document id -> similarity as the service exports them."""
        labels: Pairs = {}
        for label in self.augmentation.export_labels():
            labels.setdefault(label.query_id, {})[label.document_id] = label.similarity
        return labels

    def generated(self) -> int:
        """Return how often the generation service was asked to write."""
        return self.to_generation.paths.count("/v1/generate")


def home_with(home: Path, encoder: Path, slm: Path | None = None) -> CommonSettings:
    common = CommonSettings.model_construct(home=home)
    common.models.mkdir(parents=True)
    (common.models / "encoder").symlink_to(encoder)
    if slm is not None:
        (common.models / "slm").symlink_to(slm)
    return common


@contextmanager
def running(
    common: CommonSettings, dataset: Dataset, generator: QueryGenerator, tau: float = TAU
) -> Iterator[Suite]:
    """Index the train queries, then run all services while the body works."""
    encoder = SentenceEncoder(common.models / "encoder")
    build_index(dataset.queries_of("train"), encoder, common.mapping, lambda done, total: None)
    mapping_settings = MappingSettings.model_construct(min_similarity=tau, neighbours=NEIGHBOURS)
    store = MemoryStore()
    with ExitStack() as stack:

        def start(app: FastAPI) -> InProcess:
            return InProcess(stack.enter_context(TestClient(app)))

        to_generation = start(
            generation_app(common, GenerationSettings.model_construct(), generator)
        )
        to_mapping = start(
            mapping_app(
                mapping_settings,
                lambda: open_mapping(common.models, common.mapping, mapping_settings),
            )
        )
        to_inference = start(
            inference_app(
                InferenceSettings.model_construct(timeout_ms=60_000),
                Generations(common.bundles, lambda: LiveAds(common.ads)),
            )
        )
        inference = InferenceClient("http://inference", attempts=1, transport=to_inference)
        augmenter = Augmenter(
            store,
            GenerationClient("http://generation", attempts=1, transport=to_generation),
            MappingClient("http://mapping", attempts=1, transport=to_mapping),
            lease_seconds=60,
            ads=AdPublisher(store, inference) if common.metadata_side == "document" else None,
        )
        dispatcher = Dispatcher(store, ImmediateQueue(augmenter.augment), batch_size=3, seconds=60)
        to_augmentation = start(
            augmentation_app(AugmentationSettings.model_construct(), store, dispatcher)
        )
        yield Suite(
            common,
            store,
            AugmentationClient("http://augmentation", attempts=1, transport=to_augmentation),
            inference,
            to_generation,
        )


def mapped_exactly(
    encoder: Path, written: Mapping[str, Sequence[str]], dataset: Dataset
) -> dict[tuple[str, str], float]:
    """Return (query id, document id) -> cosine by comparing every text with every train query."""
    model = SentenceEncoder(encoder)
    train_queries = dataset.queries_of("train")
    of_train = model.encode([query.text for query in train_queries], batch_size=1)
    labels: dict[tuple[str, str], float] = {}
    for document_id, texts in written.items():
        for cosines in model.encode(texts, batch_size=1) @ of_train.T:
            for position in np.argsort(-cosines)[:NEIGHBOURS]:
                if cosines[position] >= TAU:
                    pair = (train_queries[position].id, document_id)
                    labels[pair] = max(labels.get(pair, -1.0), float(cosines[position]))
    return labels
