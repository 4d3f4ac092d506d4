"""The generation service over HTTP, with a fake model."""

import threading
from collections.abc import Sequence
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from services.generation.app import build_app
from services.generation.generator import QueryGenerator
from services.generation.requests import Completion
from services.generation.sampling import Sampling
from services.generation.settings import GenerationSettings
from shared.prompt import PromptTokenizer
from shared.settings import CommonSettings
from tests.support.tiny_models import write_tokenizer

OBOE = {"id": "oboe", "title": "oboe", "text": "a reed instrument"}


class Model:
    """Writes the same two queries, once it is let go."""

    name, adapter = "fake-1", "none"

    def __init__(self, prompts: PromptTokenizer) -> None:
        self._prompts = prompts
        self.is_asked = threading.Event()
        self.may_answer = threading.Event()
        self.may_answer.set()

    def complete(
        self,
        prompts: Sequence[Sequence[int]],
        *,
        end_id: int,
        sampling: Sampling,
        seeds: Sequence[int],
    ) -> list[Completion]:
        self.is_asked.set()
        assert self.may_answer.wait(10)
        ids = self._prompts.encode_completion(["woodwind", "reed"])[:-1]
        return [Completion(ids, is_finished=True) for _ in prompts]


@pytest.fixture
def model(tmp_path: Path) -> Model:
    return Model(PromptTokenizer(write_tokenizer(tmp_path)))


def _client(tmp_path: Path, generator: QueryGenerator | None, places: int = 8) -> TestClient:
    settings = GenerationSettings(max_waiting=places, max_body_bytes=2_000)
    return TestClient(build_app(CommonSettings(home=tmp_path), settings, generator))


def _generator(model: Model, tmp_path: Path) -> QueryGenerator:
    return QueryGenerator(model, PromptTokenizer(tmp_path / "tokenizer.json"), Sampling())


def test_documents_come_back_with_their_queries(tmp_path: Path, model: Model) -> None:
    with _client(tmp_path, _generator(model, tmp_path)) as client:
        answer = client.post("/v1/generate", json={"documents": [OBOE]})

    assert answer.status_code == 200
    assert answer.json() == {
        "generator": "fake-1",
        "results": [{"document_id": "oboe", "queries": ["woodwind", "reed"]}],
    }


@pytest.mark.parametrize(
    ("body", "where"),
    [
        ({"documents": []}, "body.documents"),
        ({"documents": [{"id": "a b", "title": "x"}]}, "body.documents.0.id"),
        ({"documents": [{"id": "a"}]}, "body.documents.0.title"),
        ({"documents": [{"id": "a", "title": " "}]}, "body.documents.0.title"),
        ({"documents": [OBOE], "extra": 1}, "body.extra"),
    ],
)
def test_bad_input_is_a_problem_that_says_where(
    tmp_path: Path, model: Model, body: object, where: str
) -> None:
    with _client(tmp_path, _generator(model, tmp_path)) as client:
        answer = client.post("/v1/generate", json=body)

    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["errors"][0]["where"] == where


def test_malformed_json_is_a_problem(tmp_path: Path, model: Model) -> None:
    with _client(tmp_path, _generator(model, tmp_path)) as client:
        answer = client.post(
            "/v1/generate",
            content=b'{"documents": [',
            headers={"content-type": "application/json"},
        )

    assert answer.status_code == 422
    assert answer.json()["type"] == "urn:skim:problem:invalid-input"


def test_a_large_body_is_refused_by_length_and_while_it_streams(
    tmp_path: Path, model: Model
) -> None:
    body = b'{"documents": [{"id": "a", "title": "' + b"x" * 3_000 + b'"}]}'
    with _client(tmp_path, _generator(model, tmp_path)) as client:
        declared = client.post("/v1/generate", content=body)
        streamed = client.post(
            "/v1/generate",
            content=iter([body[:1_500], body[1_500:]]),
            headers={"content-type": "application/json"},
        )

    assert (declared.status_code, streamed.status_code) == (413, 413)
    assert declared.json()["type"] == streamed.json()["type"] == "urn:skim:problem:too-large"


def test_a_full_queue_is_answered_503_with_retry_after(tmp_path: Path, model: Model) -> None:
    with _client(tmp_path, _generator(model, tmp_path), places=1) as client:
        model.may_answer.clear()
        first: list[int] = []
        waiting = threading.Thread(
            target=lambda: first.append(
                client.post("/v1/generate", json={"documents": [OBOE]}).status_code
            )
        )
        waiting.start()
        assert model.is_asked.wait(10)
        refused = client.post("/v1/generate", json={"documents": [OBOE]})
        model.may_answer.set()
        waiting.join(10)

    assert refused.status_code == 503
    assert int(refused.headers["retry-after"]) >= 1
    assert first == [200]


def test_without_a_model_it_is_alive_but_not_ready_and_says_what_to_run(tmp_path: Path) -> None:
    with _client(tmp_path, None) as client:
        alive, ready = client.get("/livez"), client.get("/readyz")
        answer = client.post("/v1/generate", json={"documents": [OBOE]})

    assert alive.status_code == 200
    assert (ready.status_code, answer.status_code) == (503, 503)
    assert "skim models build" in ready.json()["detail"]


def test_metrics_count_requests_by_route_and_status(tmp_path: Path, model: Model) -> None:
    with _client(tmp_path, _generator(model, tmp_path)) as client:
        client.post("/v1/generate", json={"documents": [OBOE]})
        metrics = client.get("/metrics").text

    assert (
        'skim_http_requests_total{method="POST",route="/v1/generate",status="200"} 1.0' in metrics
    )
    assert "skim_generation_queries_total 2.0" in metrics


def test_a_request_id_is_kept_if_sane_and_replaced_if_not(tmp_path: Path, model: Model) -> None:
    with _client(tmp_path, _generator(model, tmp_path)) as client:
        kept = client.get("/livez", headers={"x-request-id": "abc-1"})
        replaced = client.get("/livez", headers={"x-request-id": "a b\t{}"})

    assert kept.headers["x-request-id"] == "abc-1"
    assert len(replaced.headers["x-request-id"]) == 32
