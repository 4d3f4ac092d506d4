"""QueryGenerator: documents in, distinct queries out."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from services.generation.generator import QueryGenerator
from services.generation.requests import Completion
from services.generation.sampling import Sampling
from shared.contracts.document import Document
from shared.prompt import PromptTokenizer
from tests.support.tiny_models import write_tokenizer


class Scribe:
    """Completes every prompt with fixed text; remembers the seeds."""

    name, adapter = "scribe", "none"

    def __init__(self, prompts: PromptTokenizer, text: str, *, is_finished: bool = True) -> None:
        self._ids = prompts.encode_completion([text])[:-1]
        self._is_finished = is_finished
        self.seeds: list[int] = []

    def complete(
        self,
        prompts: Sequence[Sequence[int]],
        *,
        end_id: int,
        sampling: Sampling,
        seeds: Sequence[int],
    ) -> list[Completion]:
        self.seeds += seeds
        return [Completion(self._ids, self._is_finished) for _ in prompts]


@pytest.fixture
def prompts(tmp_path: Path) -> PromptTokenizer:
    return PromptTokenizer(write_tokenizer(tmp_path))


def _documents(*titles: str) -> list[Document]:
    return [Document(id=title, title=title) for title in titles]


def test_each_document_gets_its_own_clean_queries(prompts: PromptTokenizer) -> None:
    generator = QueryGenerator(Scribe(prompts, "reed\noboe\n1. woodwind"), prompts, Sampling())

    assert generator.generate(_documents("oboe", "flute")) == [
        ["reed", "woodwind"],
        ["reed", "oboe", "woodwind"],
    ]


def test_a_cut_last_line_is_not_a_query(prompts: PromptTokenizer) -> None:
    generator = QueryGenerator(
        Scribe(prompts, "reed\nwoodw", is_finished=False), prompts, Sampling()
    )

    assert generator.generate(_documents("oboe")) == [["reed"]]


def test_a_document_has_the_same_seed_again_and_another_text_another(
    prompts: PromptTokenizer,
) -> None:
    scribe = Scribe(prompts, "reed")
    generator = QueryGenerator(scribe, prompts, Sampling())

    generator.generate([Document(id="x", title="oboe", text="old")])
    generator.generate([Document(id="y", title="oboe", text="old")])
    generator.generate([Document(id="x", title="oboe", text="new")])

    assert scribe.seeds[0] == scribe.seeds[1] != scribe.seeds[2]
