"""The whole chain, in process."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from services.generation.generator import QueryGenerator
from services.generation.sampling import Sampling
from shared.contracts.document import Document
from shared.dataset import Dataset, Query
from shared.prompt import PromptTokenizer
from tests.support.chain import (
    CLICKS,
    TRAIN_QUERIES,
    UNSEEN_WORDING,
    WRITTEN,
    Suite,
    home_with,
    running,
)
from tests.support.language_models import FakeLanguageModel
from tests.support.tiny_models import END_TOKEN, write_tokenizer


@pytest.fixture
def fake_generator(tmp_path: Path) -> QueryGenerator:
    prompts = PromptTokenizer(write_tokenizer(tmp_path), end_token=END_TOKEN)
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
