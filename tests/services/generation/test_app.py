"""The generation service over HTTP, with a fake model."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from services.generation.app import build_app
from services.generation.generator import QueryGenerator
from services.generation.sampling import Sampling
from services.generation.settings import GenerationSettings
from shared.clients import GenerationClient
from shared.contracts.document import Document
from shared.errors import Expired, Unavailable
from shared.prompt import PromptTokenizer
from shared.settings import CommonSettings
from tests.support.in_process import InProcess
from tests.support.language_models import FakeLanguageModel
from tests.support.tiny_models import END_TOKEN, write_tokenizer

OBOE = {"id": "oboe", "title": "oboe", "text": "a reed instrument"}
FLUTE = {"id": "flute", "title": "flute"}
NDJSON = {"accept": "application/x-ndjson"}


@pytest.fixture
def prompts(tmp_path: Path) -> PromptTokenizer:
    return PromptTokenizer(write_tokenizer(tmp_path), end_token=END_TOKEN)


@pytest.fixture
def model(prompts: PromptTokenizer) -> FakeLanguageModel:
    return FakeLanguageModel(prompts, lambda *_: "woodwind\nreed")


def _client(
    tmp_path: Path, model: FakeLanguageModel | None, prompts: PromptTokenizer
) -> TestClient:
    settings = GenerationSettings(max_body_bytes=2_000)
    generator = QueryGenerator(model, prompts, Sampling()) if model else None
    return TestClient(build_app(CommonSettings(home=tmp_path), settings, generator))


@pytest.fixture
def client(tmp_path: Path, model: FakeLanguageModel, prompts: PromptTokenizer) -> TestClient:
    return _client(tmp_path, model, prompts)


def test_documents_come_back_with_their_queries_in_the_order_given(client: TestClient) -> None:
    with client:
        answer = client.post("/v1/generate", json={"documents": [OBOE, FLUTE]})

    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json"
    assert answer.json() == {
        "generator": "fake-1",
        "results": [
            {
                "document_id": document_id,
                "queries": ["reed", "woodwind"],
                "evidence": [[1.0, -0.25], [1.0, -0.5]],
            }
            for document_id in ("oboe", "flute")
        ],
    }


def test_when_asked_each_document_is_a_line_of_its_own(client: TestClient) -> None:
    with client:
        answer = client.post("/v1/generate", json={"documents": [OBOE, FLUTE]}, headers=NDJSON)

    lines = [json.loads(line) for line in answer.text.splitlines()]
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/x-ndjson"
    assert answer.text.endswith("\n")
    assert sorted(line["document_id"] for line in lines) == ["flute", "oboe"]
    assert all(line["queries"] == ["reed", "woodwind"] for line in lines)
    assert all(line["generator"] == "fake-1" for line in lines)


def test_known_queries_are_not_written_again_and_belong_to_their_document(
    client: TestClient,
) -> None:
    body = {"documents": [OBOE, FLUTE], "known_queries": {"oboe": ["Reeds"]}}
    with client:
        oboe, flute = client.post("/v1/generate", json=body).json()["results"]

    assert oboe["queries"] == ["woodwind"]
    assert flute["queries"] == ["reed", "woodwind"]


def test_the_seed_is_the_documents_own_unless_another_is_asked_for(
    client: TestClient, model: FakeLanguageModel
) -> None:
    with client:
        for body in ({}, {"seed": 0}, {"seed": 7}, {"seed": 7}):
            client.post("/v1/generate", json={"documents": [OBOE], **body})

    own, zero, seven, again = (asked.seed for asked in model.asked)
    assert own == zero == int(Document.model_validate(OBOE).content_hash, 16)
    assert seven == again != own


@pytest.mark.parametrize(
    ("body", "where"),
    [
        ({"documents": []}, "body.documents"),
        ({"documents": [OBOE] * 65}, "body.documents"),
        ({"documents": [OBOE, OBOE]}, "body"),
        ({"documents": [{"id": "a b", "title": "x"}]}, "body.documents.0.id"),
        ({"documents": [{"id": "a"}]}, "body.documents.0.title"),
        ({"documents": [{"id": "a", "title": " "}]}, "body.documents.0.title"),
        ({"documents": [OBOE], "extra": 1}, "body.extra"),
        ({"documents": [OBOE], "timeout_seconds": 0}, "body.timeout_seconds"),
        ({"documents": [OBOE], "seed": -1}, "body.seed"),
        ({"documents": [OBOE], "known_queries": {"harp": ["a"]}}, "body"),
        ({"documents": [OBOE], "known_queries": {"oboe": [" "]}}, "body.known_queries.oboe.0"),
    ],
)
def test_bad_input_is_a_problem_that_says_where(
    tmp_path: Path,
    model: FakeLanguageModel,
    prompts: PromptTokenizer,
    body: object,
    where: str,
) -> None:
    settings, generator = GenerationSettings(), QueryGenerator(model, prompts, Sampling())
    with TestClient(build_app(CommonSettings(home=tmp_path), settings, generator)) as client:
        answer = client.post("/v1/generate", json=body)

    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["errors"][0]["where"] == where
    assert not model.asked


def test_malformed_json_is_a_problem(client: TestClient) -> None:
    with client:
        answer = client.post(
            "/v1/generate",
            content=b'{"documents": [',
            headers={"content-type": "application/json"},
        )

    assert answer.status_code == 422
    assert answer.json()["type"] == "urn:skim:problem:invalid-input"


def test_a_large_body_is_refused_by_length_and_while_it_streams(client: TestClient) -> None:
    body = b'{"documents": [{"id": "a", "title": "' + b"x" * 3_000 + b'"}]}'
    with client:
        declared = client.post("/v1/generate", content=body)
        streamed = client.post(
            "/v1/generate",
            content=iter([body[:1_500], body[1_500:]]),
            headers={"content-type": "application/json"},
        )

    assert (declared.status_code, streamed.status_code) == (413, 413)
    assert declared.json()["type"] == streamed.json()["type"] == "urn:skim:problem:too-large"


def _answer_of(client: TestClient, path: str, is_it: Callable[[str], bool]) -> str:
    """Ask until the text is it: the model is loaded beside the first requests."""
    for _ in range(100_000):
        text = client.get(path).text
        if is_it(text):
            return text
    raise AssertionError(f"{path} never said so; last: {text}")


def test_without_a_model_it_is_alive_but_not_ready_and_says_what_to_run(
    tmp_path: Path, prompts: PromptTokenizer
) -> None:
    with _client(tmp_path, None, prompts) as client:
        alive = client.get("/livez")
        _answer_of(client, "/readyz", lambda text: "skim models build" in text)
        ready = client.get("/readyz")
        answer = client.post("/v1/generate", json={"documents": [OBOE]})

    assert alive.status_code == 200
    assert (ready.status_code, answer.status_code) == (503, 503)
    assert "skim models build" in answer.json()["detail"]


def test_it_says_what_runs_here(client: TestClient) -> None:
    with client:
        info = client.get("/v1/info").json()

    assert info == {
        "generator": "fake-1",
        "adapter": "none",
        "source": "fake",
        "sha256": "5" * 64,
        "precision": "int4",
        "temperature": 0.8,
        "top_k": 200,
        "top_p": 1.0,
        "max_new_tokens": 250,
        "samples": 1,
        "context_tokens": 512,
        "slots": 4,
        "key_value_bytes": 4_096,
        "max_metadata_tokens": 750,
        "max_queries": 16,
        "max_documents": 64,
        "max_waiting": 256,
        "timeout_seconds": 110.0,
    }


def test_our_client_gets_results_and_info(client: TestClient) -> None:
    with client, GenerationClient("http://generation", transport=InProcess(client)) as ours:
        answer = ours.generate([Document.model_validate(OBOE)])
        info = ours.info()

    assert answer.results[0].queries == ["reed", "woodwind"]
    assert info.generator == answer.generator == "fake-1"


@pytest.mark.parametrize("error", [Expired("too late"), Unavailable("broken")])
def test_our_client_hears_that_trying_again_may_help(
    tmp_path: Path, prompts: PromptTokenizer, error: Unavailable
) -> None:
    def write(*_: str) -> str:
        raise error

    with (
        _client(tmp_path, FakeLanguageModel(prompts, write), prompts) as client,
        GenerationClient("http://generation", attempts=1, transport=InProcess(client)) as ours,
        pytest.raises(Unavailable, match=str(error)),
    ):
        ours.generate([Document.model_validate(OBOE)])


def test_the_model_is_closed_with_the_service(
    client: TestClient, model: FakeLanguageModel
) -> None:
    with client:
        assert not model.is_closed

    assert model.is_closed


def test_a_stopping_service_is_alive_but_not_ready(client: TestClient) -> None:
    with client:
        assert client.get("/readyz").status_code == 200
        client.app.state.is_stopping = True  # type: ignore[attr-defined]  (what `serve` does)
        ready, alive = client.get("/readyz"), client.get("/livez")

    assert (ready.status_code, alive.status_code) == (503, 200)
    assert "stopping" in ready.json()["detail"]


def test_the_openapi_document_describes_both_answers_and_the_deadline(client: TestClient) -> None:
    responses = client.get("/openapi.json").json()["paths"]["/v1/generate"]["post"]["responses"]

    content = responses["200"]["content"]
    assert content["application/json"]["schema"]["$ref"].endswith("/GenerateResponse")
    lines = content["application/x-ndjson"]["schema"]["anyOf"]
    assert [line["title"] for line in lines] == ["GeneratedLine", "FailedLine"]
    assert {"413", "422", "503", "504"} <= set(responses)


def test_metrics_count_requests_by_route_and_status(client: TestClient) -> None:
    with client:
        client.post("/v1/generate", json={"documents": [OBOE]})
        metrics = client.get("/metrics").text

    assert (
        'skim_http_requests_total{method="POST",route="/v1/generate",status="200"} 1.0' in metrics
    )
    assert "skim_generation_queries_total 2.0" in metrics


def test_a_request_id_is_kept_if_sane_and_replaced_if_not(client: TestClient) -> None:
    with client:
        kept = client.get("/livez", headers={"x-request-id": "abc-1"})
        replaced = client.get("/livez", headers={"x-request-id": "a b\t{}"})

    assert kept.headers["x-request-id"] == "abc-1"
    assert len(replaced.headers["x-request-id"]) == 32
