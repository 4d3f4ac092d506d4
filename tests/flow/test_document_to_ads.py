"""The walking skeleton: a document becomes synthetic queries, labels, a classifier, a bundle, an ad.

Every service is the real application, reached through its real client; only the network is missing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from services.augmentation.ads import AdPublisher
from services.augmentation.app import build_app as augmentation_app
from services.augmentation.augmenter import Augmenter
from services.augmentation.dispatcher import Dispatcher
from services.augmentation.settings import AugmentationSettings
from services.cli.training import train_on
from services.generation.app import build_app as generation_app
from services.generation.app import load_generator
from services.generation.generator import QueryGenerator
from services.generation.sampling import Sampling
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
from shared.contracts.augmentation import JobState, WrittenBefore
from shared.contracts.document import Document
from shared.dataset import Dataset, Pairs, Query, read_dataset
from shared.encoder import SentenceEncoder, read_card
from shared.prompt import PromptTokenizer
from shared.settings import CommonSettings
from shared.store import MemoryStore
from tests.support.in_process import ImmediateQueue, InProcess
from tests.support.language_models import FakeLanguageModel
from tests.support.tiny_models import write_tokenizer

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

    def publish(self, dataset: Dataset, labels: Pairs) -> str:
        """Train, bundle, activate, and let the inference service take it; return the version."""
        folder = self.common.models / "encoder"
        encoder = CachedEncoder(SentenceEncoder(folder))
        model = train_on(dataset, labels, [], encoder, TRAINING, lambda done, total: None)
        facts = serving_facts(model.vectors, dataset, labels, [], encoder)
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


@pytest.fixture
def fake_generator(tmp_path: Path) -> QueryGenerator:
    prompts = PromptTokenizer(write_tokenizer(tmp_path))
    model = FakeLanguageModel(prompts, lambda title, _: "\n".join(WRITTEN[title]))
    return QueryGenerator(model, prompts, Sampling())


@pytest.fixture
def dataset() -> Dataset:
    queries = [Query(id=each, text=text) for each, text in TRAIN_QUERIES.items()]
    queries.append(Query(id="q-test", text=UNSEEN_WORDING, split="test"))
    return Dataset([Document(id=each, title=each) for each in WRITTEN], queries, CLICKS, {})


@pytest.fixture
def suite(
    tmp_path: Path, tiny_encoder: Path, dataset: Dataset, fake_generator: QueryGenerator
) -> Iterator[Suite]:
    with running(home_with(tmp_path / "home", tiny_encoder), dataset, fake_generator) as suite:
        yield suite


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


def test_labels_are_those_that_exact_search_gives(
    suite: Suite, dataset: Dataset, tiny_encoder: Path
) -> None:
    job = suite.augmentation.post_documents(dataset.documents)

    ended = suite.augmentation.job(job.id)
    labels = suite.labels()
    found = {
        (query, each): cosine for query, row in labels.items() for each, cosine in row.items()
    }
    assert found == pytest.approx(mapped_exactly(tiny_encoder, WRITTEN, dataset), abs=1e-5)
    assert (ended.state, ended.done, ended.failed) == (JobState.DONE, len(WRITTEN), 0)
    assert ended.labels == len(found)
    assert {("q-reed", "oboe"), ("q-reed", "hautbois"), ("q-sharp", "naginata")} <= found.keys()


def test_a_label_says_which_synthetic_query_led_to_it(
    suite: Suite, dataset: Dataset, tiny_encoder: Path
) -> None:
    suite.augmentation.post_documents(dataset.documents)

    of_hautbois = suite.augmentation.labels("hautbois")
    [label] = [label for label in of_hautbois.labels if label.query_id == "q-reed"]
    assert of_hautbois.synthetic_queries == WRITTEN["hautbois"]
    assert label.query == TRAIN_QUERIES["q-reed"]
    assert label.provenance.synthetic_query == "a double reed woodwind"
    assert label.provenance.generator == "fake-1"
    assert label.provenance.min_similarity == TAU
    assert label.provenance.encoder == read_card(tiny_encoder).name


def test_a_document_is_an_ad_at_once_and_has_its_trained_vector_with_the_next_bundle(
    suite: Suite, dataset: Dataset
) -> None:
    first = replace(
        dataset,
        documents=[each for each in dataset.documents if each.id != "pear"],
        clicks={query: row for query, row in CLICKS.items() if "pear" not in row},
    )
    suite.augmentation.post_documents(first.documents)
    suite.publish(first, suite.labels())
    suite.augmentation.post_documents(dataset.documents)

    assert suite.inference.ads("pear", k=1).ads[0].id == "pear"
    assert suite.inference.explain("pear", "sweet fruit").vector == "cold_start"
    suite.publish(dataset, suite.labels())
    explained = suite.inference.explain("pear", "sweet fruit")
    assert explained.vector == "trained"
    assert explained.parts is not None
    assert explained.taught_by is not None
    assert [click.query for click in explained.taught_by.clicks] == ["sweet fruit"]


def test_a_deleted_ad_does_not_come_back_with_its_document_or_another_bundle(
    suite: Suite, dataset: Dataset
) -> None:
    suite.augmentation.post_documents(dataset.documents)
    suite.publish(dataset, {})
    suite.inference.delete_ads(["pear"])
    suite.augmentation.post_documents(dataset.documents)
    suite.publish(dataset, {})

    assert "pear" not in {ad.id for ad in suite.inference.ads("pear", k=100).ads}


def test_what_no_click_showed_is_found_because_of_its_label(
    suite: Suite, dataset: Dataset
) -> None:
    suite.augmentation.post_documents(dataset.documents)

    clicks_alone = suite.publish(dataset, {})
    before = suite.inference.ads(UNSEEN_WORDING)
    with_labels = suite.publish(dataset, suite.labels())
    after = suite.inference.ads(UNSEEN_WORDING)

    assert (before.generation, after.generation) == (clicks_alone, with_labels)
    assert "hautbois" not in [ad.id for ad in before.ads[:4]]
    assert after.ads[0].id == "hautbois"
    assert sorted(ad.id for ad in after.ads) == sorted(WRITTEN)
    hautbois = suite.inference.ad("hautbois")
    assert (hautbois.ad, hautbois.generation) == (
        Document(id="hautbois", title="hautbois"),
        with_labels,
    )


def test_posting_the_same_documents_again_changes_nothing(suite: Suite, dataset: Dataset) -> None:
    suite.augmentation.post_documents(dataset.documents)
    labels, calls = suite.labels(), suite.generated()
    before = suite.augmentation.labels("oboe")

    again = suite.augmentation.post_documents(dataset.documents)

    counts = suite.augmentation.counts()
    assert suite.augmentation.job(again.id).state is JobState.DONE
    assert suite.labels() == labels
    assert suite.augmentation.labels("oboe").revision == before.revision
    assert suite.generated() == calls
    assert (counts.documents, counts.labels) == (
        len(WRITTEN),
        sum(map(len, labels.values())),
    )


def test_queries_written_before_are_used_without_asking_the_generator(
    suite: Suite, dataset: Dataset
) -> None:
    before = WrittenBefore(generator="fake-1", queries={"oboe": ["metal cup"]})

    suite.augmentation.post_documents(dataset.documents[:1], before)

    of_oboe = suite.augmentation.labels("oboe")
    assert suite.generated() == 0
    assert of_oboe.synthetic_queries == ["metal cup"]
    assert of_oboe.labels[0].query_id == "q-cup"


def test_queries_that_another_generator_wrote_before_are_not_used(
    suite: Suite, dataset: Dataset
) -> None:
    before = WrittenBefore(generator="other-1", queries={"oboe": ["metal cup"]})

    suite.augmentation.post_documents(dataset.documents[:1], before)

    assert suite.generated() == 1
    assert suite.augmentation.labels("oboe").synthetic_queries == WRITTEN["oboe"]


def test_documents_that_were_not_written_before_are_generated(
    suite: Suite, dataset: Dataset
) -> None:
    before = WrittenBefore(generator="fake-1", queries={"oboe": ["metal cup"]})

    suite.augmentation.post_documents(dataset.documents[:2], before)

    assert suite.generated() == 1
    assert suite.augmentation.labels("flute").synthetic_queries == WRITTEN["flute"]


def test_the_whole_chain_is_deterministic_with_a_real_language_model(
    tmp_path: Path, tiny_encoder: Path, tiny_slm: Path, dataset: Dataset
) -> None:
    outcomes = []
    for run in ("first", "second"):
        common = home_with(tmp_path / run, tiny_encoder, tiny_slm)
        generator = load_generator(
            common.models / "slm",
            GenerationSettings(threads=1, temperature=1.0, max_new_tokens=64),
            LegibleNoise(tiny_slm / "tokenizer.json"),
        )
        with running(common, dataset, generator, tau=0.0) as suite:
            job = suite.augmentation.post_documents(dataset.documents)
            assert suite.augmentation.job(job.id).state is JobState.DONE
            written = [
                suite.augmentation.labels(document.id).synthetic_queries
                for document in dataset.documents
            ]
            suite.publish(dataset, suite.labels())
            outcomes.append((written, suite.labels(), suite.inference.ads(UNSEEN_WORDING).ads))

    assert any(outcomes[0][0])
    assert outcomes[0][1]
    assert outcomes[0] == outcomes[1]


@pytest.mark.slow
def test_the_real_models_label_real_documents_rightly(tmp_path: Path) -> None:
    built, folder = CommonSettings().models, CommonSettings().data / "things-2500"
    for needed in (built / "slm" / "generator.json", built / "encoder", folder):
        if not needed.exists():
            pytest.skip(f"{needed} is not there: `skim models build`, `skim data things {folder}`")
    things = read_dataset(folder)
    ids = {document.id for document in things.documents[:DOCUMENTS]}
    queries = [q for q in things.queries if q.split == "train"][:TRAIN_QUERIES_OF_THINGS]
    queries += [
        q for q in things.queries if q.split == "train" and ids & things.truth[q.id].keys()
    ]
    queries = list({query.id: query for query in queries}.values())
    part = Dataset(things.documents[:DOCUMENTS], queries, {}, {})
    common = home_with(tmp_path, (built / "encoder").resolve(), (built / "slm").resolve())

    with running(
        common, part, load_generator(common.models / "slm", GenerationSettings()), tau=0.6
    ) as suite:
        job = suite.augmentation.post_documents(part.documents)
        ended, labels = suite.augmentation.job(job.id), suite.labels()
        suite.publish(part, labels)
        query = next(iter(labels))
        answer = suite.inference.ads(next(q.text for q in queries if q.id == query), k=5)

    pairs = [(query, document) for query, row in labels.items() for document in row]
    right = sum(document in things.truth[query] for query, document in pairs) / len(pairs)
    relevant = sum(len(ids & things.truth[query.id].keys()) for query in queries)
    by_chance = relevant / (len(queries) * DOCUMENTS)
    assert (ended.state, ended.done) == (JobState.DONE, DOCUMENTS)
    assert len({document for _, document in pairs}) >= DOCUMENTS * 0.8
    assert right > 10 * by_chance, (len(pairs), right, by_chance)
    assert len(answer.ads) == 5
