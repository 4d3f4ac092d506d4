"""Hostile documents through the generation service: answered, and nothing of theirs comes out."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from services.generation.app import build_app, load_generator
from services.generation.generator import QueryGenerator
from services.generation.sampling import Sampling
from services.generation.settings import GenerationSettings
from shared.contracts.generation import MAX_DOCUMENTS, GenerateRequest
from shared.prompt import PromptTokenizer
from shared.settings import CommonSettings
from tests.support.hostile_documents import CANARY_HOST, HOSTILE
from tests.support.language_models import FakeLanguageModel
from tests.support.tiny_models import END_TOKEN, write_chat_tokenizer

JSON = {"content-type": "application/json"}
SETTINGS = GenerationSettings(threads=1, slots=16, max_new_tokens=4, max_metadata_tokens=60)


@pytest.fixture
def random_student(tiny_slm: Path) -> QueryGenerator:
    """A real decoder that writes noise."""
    return load_generator(tiny_slm, SETTINGS)


@pytest.fixture
def copying_student(tmp_path: Path) -> QueryGenerator:
    """The worst student: it writes down what it read, whole and in pieces."""
    prompts = PromptTokenizer(write_chat_tokenizer(tmp_path), end_token=END_TOKEN)

    def write(_: str, prompt: str) -> str:
        return "\n".join([prompt, *prompt.replace(". ", "\n").replace(", ", "\n").split()])

    return QueryGenerator(FakeLanguageModel(prompts, write), prompts, Sampling())


@pytest.mark.parametrize("student", ["random_student", "copying_student"])
def test_every_hostile_document_is_answered_and_its_canary_comes_out_nowhere(
    student: str, request: pytest.FixtureRequest
) -> None:
    generator = request.getfixturevalue(student)
    with TestClient(build_app(CommonSettings(), SETTINGS, generator)) as client:
        answers = [client.post("/v1/generate", content=body, headers=JSON) for body in _bodies()]
        alive = client.get("/readyz")

    assert [answer.text for answer in answers if answer.status_code != 200] == []
    results = [result for answer in answers for result in answer.json()["results"]]
    assert [result["document_id"] for result in results] == [each.id for each in HOSTILE]
    queries = [query for result in results for query in result["queries"]]
    assert student == "random_student" or queries
    assert not [query for query in queries if CANARY_HOST in query.casefold()]
    assert alive.status_code == 200


def _bodies() -> Iterator[str]:
    for start in range(0, len(HOSTILE), MAX_DOCUMENTS):
        documents = list(HOSTILE[start : start + MAX_DOCUMENTS])
        yield GenerateRequest(documents=documents).model_dump_json()
