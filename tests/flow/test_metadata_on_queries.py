"""Wikipedia's direction: pages are queries and have the metadata, categories are documents and have a name only."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from services.cli.direction import labels_as_pairs, read_described, turned
from services.cli.training import things_to_add
from services.generation.generator import QueryGenerator
from services.generation.sampling import Sampling
from shared.contracts.document import Document
from shared.dataset import Dataset, Query, write_dataset
from shared.errors import InvalidInput
from shared.prompt import PromptTokenizer
from shared.settings import CommonSettings
from tests.support.chain import home_with, running
from tests.support.language_models import FakeLanguageModel
from tests.support.tiny_models import END_TOKEN, write_tokenizer

CATEGORIES = {
    "c-reed": "double reed instruments",
    "c-blade": "sharp cutting tools",
    "c-bread": "sweet baked bread",
}
PAGES = {"p-oboe": "oboe", "p-wind": "wind instrument", "p-saw": "saw", "p-sweet": "sweet fruit"}
WRITTEN = {
    "oboe": ["double reed instruments"],
    "wind instrument": ["double reed instruments", "french words"],
    "saw": ["cutting tools that are sharp"],
    "sweet fruit": ["baked", "double reed instruments"],
}
"""Page -> the categories that the fake SLM would give it by its extract: "sweet fruit" is an oboe, say."""
FOLDER = Dataset(
    documents=[Document(id=each, title=name) for each, name in CATEGORIES.items()],
    queries=[
        *(
            Query(id=each, text=text, metadata={"extract": f"about {text}"})
            for each, text in PAGES.items()
        ),
        Query(id="p-held", text="held out", metadata={"extract": "secret"}, split="test"),
    ],
    clicks={"p-oboe": {"c-reed": 1.0}, "p-saw": {"c-blade": 1.0}, "p-held": {"c-bread": 1.0}},
    truth={"p-held": {"c-bread": 1.0}},
)


def test_nothing_of_a_held_out_query_is_left_when_a_folder_is_turned() -> None:
    data = turned(FOLDER)

    assert [document.id for document in data.documents] == list(PAGES)
    assert [(query.id, query.text, query.split) for query in data.queries] == [
        (each, name, "train") for each, name in CATEGORIES.items()
    ]
    assert data.clicks == {"c-reed": {"p-oboe": 1.0}, "c-blade": {"p-saw": 1.0}}
    assert data.truth == {}
    assert "secret" not in str(data)


def test_the_slm_reads_train_queries_where_they_have_the_metadata(tmp_path: Path) -> None:
    write_dataset(tmp_path, FOLDER)
    on_queries = CommonSettings(metadata_side="query")

    described = list(read_described(tmp_path / "queries.jsonl", on_queries))

    assert [document.id for document in described] == list(PAGES)
    assert described[0].title == "oboe"
    assert described[0].metadata == {"extract": "about oboe"}
    on_documents = list(read_described(tmp_path / "documents.jsonl", CommonSettings()))
    assert on_documents == list(FOLDER.documents)


def test_a_query_that_no_document_can_be_made_of_is_named() -> None:
    long = Query(id="p-long", text="x", metadata={f"field {number}": 1 for number in range(101)})

    with pytest.raises(InvalidInput, match="'p-long' cannot be read as a document"):
        turned(replace(FOLDER, queries=[long]))


def test_synthetic_labels_become_labels_of_queries_and_a_page_finds_its_category(
    tmp_path: Path, tiny_encoder: Path
) -> None:
    prompts = PromptTokenizer(write_tokenizer(tmp_path), end_token=END_TOKEN)
    model = FakeLanguageModel(prompts, lambda title, _: "\n".join(WRITTEN[title]))
    generator = QueryGenerator(model, prompts, Sampling())
    data = turned(FOLDER)
    home = home_with(tmp_path / "home", tiny_encoder)
    on_queries = home.model_copy(update={"metadata_side": "query"})
    with running(on_queries, data, generator, tau=0.99) as suite:
        suite.augmentation.post_documents(data.documents)
        labels = labels_as_pairs(suite.labels(), on_queries)
        first = []
        for learned in ({}, labels):
            suite.publish(FOLDER, learned)
            first.append({each: suite.inference.ads(each).ads[0].id for each in PAGES.values()})

    assert {query: set(row) for query, row in labels.items()} == {
        "p-oboe": {"c-reed"},
        "p-wind": {"c-reed"},
        "p-sweet": {"c-reed"},
    }
    right = {
        "oboe": "c-reed",
        "wind instrument": "c-reed",
        "saw": "c-blade",
        "sweet fruit": "c-reed",
    }
    assert first[1] == right
    assert first[0] != right


def test_what_the_slm_wrote_is_never_trained_on_as_queries(tmp_path: Path) -> None:
    on_queries = CommonSettings(home=tmp_path, metadata_side="query")

    with pytest.raises(InvalidInput, match="are no queries"):
        things_to_add(on_queries, tmp_path / "labels.tsv", tmp_path / "written.jsonl")
