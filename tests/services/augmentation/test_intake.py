"""Documents over HTTP: requests and uploads, keys and verdicts."""

import asyncio
import json
from collections.abc import Iterator

import pytest
import redis
from fastapi.testclient import TestClient

from services.augmentation.app import build_app
from services.augmentation.dispatcher import Dispatcher
from services.augmentation.routes.documents import once_taken_in
from services.augmentation.settings import AugmentationSettings
from shared.contracts.augmentation import AcceptedJob
from shared.contracts.generation import NDJSON
from shared.store import MemoryStore, RedisStore, Store
from tests.support.asgi import Call, started, until
from tests.support.documents import document_of, label_of, revision_of
from tests.support.queues import FakeQueue

OBOE = {"id": "oboe", "title": "oboe", "text": "a slender reed", "metadata": {"year": 1690}}
HORN = {"id": "horn", "title": "horn"}
BOTH = {"documents": [OBOE, HORN]}
LINES = b"".join(json.dumps(each).encode() + b"\n" for each in (OBOE, HORN))
KEY = {"idempotency-key": "my import of today"}
STREAM = {"content-type": f"{NDJSON}; charset=utf-8"}


def client_of(store: Store, dispatcher: Dispatcher) -> TestClient:
    return TestClient(build_app(AugmentationSettings(), store, dispatcher))


@pytest.fixture
def client(store: MemoryStore, dispatcher: Dispatcher) -> Iterator[TestClient]:
    with client_of(store, dispatcher) as client:
        yield client


@pytest.fixture
def client_with_redis(redis_store: RedisStore, queue: FakeQueue) -> Iterator[TestClient]:
    dispatcher = Dispatcher(redis_store, queue, batch_size=2, seconds=60)
    with client_of(redis_store, dispatcher) as client:
        yield client


def label(store: MemoryStore, document_id: str) -> None:
    revision = revision_of(store.document(document_id), label_of("q1", 0.9))
    store.write_labels(document_id, revision)
    store.note_generator(revision.generator)


# Requests


def test_the_answer_says_what_became_of_each_document(
    client: TestClient, store: MemoryStore, queue: FakeQueue
) -> None:
    client.post("/v1/documents", json=OBOE)
    label(store, "oboe")
    queue.messages.clear()

    answer = client.post("/v1/documents", json=BOTH).json()

    assert answer["verdicts"] == {"oboe": "unchanged", "horn": "accepted"}
    assert (answer["documents"], answer["unchanged"], answer["done"]) == (2, 1, 1)
    assert queue.messages == [(answer["id"], ["horn"])]


@pytest.mark.parametrize(
    "body", [{"json": BOTH}, {"content": LINES, "headers": STREAM}], ids=["json", "lines"]
)
def test_the_same_body_under_the_same_key_is_answered_again_and_queued_once(
    client: TestClient, store: MemoryStore, queue: FakeQueue, body: dict[str, object]
) -> None:
    sent = {**body, "headers": {**body.get("headers", {}), **KEY}}
    first = client.post("/v1/documents", **sent)
    store.finish_document(first.json()["id"], "oboe", labels=3)
    queue.messages.clear()

    again = client.post("/v1/documents", **sent)

    assert (first.status_code, again.status_code) == (202, 202)
    assert again.content == first.content
    assert again.headers["location"] == first.headers["location"]
    assert "idempotent-replayed" not in first.headers
    assert again.headers["idempotent-replayed"] == "true"
    assert (store.counts().accepted, queue.messages) == (2, [])
    assert "skim_augmentation_documents_accepted_total 2.0" in client.get("/metrics").text


@pytest.mark.parametrize("first", ["json", "lines"])
@pytest.mark.parametrize("second", ["json", "lines"])
def test_another_body_under_the_same_key_is_refused(
    client: TestClient, store: MemoryStore, first: str, second: str
) -> None:
    bodies = {
        "json": ({"json": OBOE, "headers": KEY}, {"json": BOTH, "headers": KEY}),
        "lines": (
            {"content": LINES, "headers": STREAM | KEY},
            {"content": LINES * 2, "headers": STREAM | KEY},
        ),
    }
    client.post("/v1/documents", **bodies[first][0])
    before = store.counts()

    answer = client.post("/v1/documents", **bodies[second][1])

    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"
    assert "another body" in answer.json()["detail"]
    assert store.counts() == before


@pytest.mark.parametrize("header", ["authorization", "x-api-key"])
@pytest.mark.parametrize(
    "body", [{"json": BOTH}, {"content": LINES, "headers": STREAM}], ids=["json", "lines"]
)
def test_the_same_key_of_another_caller_is_another(
    client: TestClient, body: dict[str, object], header: str
) -> None:
    jobs = []
    for caller in ("one", "two"):
        headers = {**body.get("headers", {}), **KEY, header: caller}
        jobs.append(client.post("/v1/documents", **{**body, "headers": headers}).json()["id"])

    assert jobs[0] != jobs[1]


@pytest.mark.parametrize("key", ["", "x" * 256, "caf\xe9"])
def test_a_key_that_is_none_is_refused(client: TestClient, key: str) -> None:
    answer = client.post(
        "/v1/documents", json=OBOE, headers={"idempotency-key": key.encode("latin-1")}
    )

    assert answer.status_code == 422
    assert answer.json()["errors"][0]["where"] == "header.idempotency-key"


@pytest.mark.parametrize(
    "body", [{"json": BOTH}, {"content": LINES, "headers": STREAM}], ids=["json", "lines"]
)
def test_a_full_redis_is_503_and_has_nothing_of_the_request(
    client_with_redis: TestClient,
    redis_client: redis.Redis,
    queue: FakeQueue,
    body: dict[str, object],
) -> None:
    client_with_redis.get("/readyz")
    redis_client.config_set("maxmemory", "1")
    try:
        answer = client_with_redis.post("/v1/documents", **body)
    finally:
        redis_client.config_set("maxmemory", "0")

    assert answer.status_code == 503
    assert answer.headers["retry-after"]
    assert redis_client.keys() == ["skim:layout"]
    assert queue.messages == []


# Uploads


def test_lines_become_a_job_whatever_their_length(
    client: TestClient, store: MemoryStore, queue: FakeQueue
) -> None:
    long = [{"id": f"d{number}", "title": "t", "text": "x" * 99_000} for number in range(100)]
    lines = "".join(json.dumps(each) + "\n" for each in long)
    assert len(lines) > AugmentationSettings().max_body_bytes

    answer = client.post("/v1/documents", content=lines, headers=STREAM)

    job = answer.json()
    assert answer.status_code == 202
    assert answer.headers["location"] == f"/v1/jobs/{job['id']}"
    assert (job["documents"], job["refused"], job["verdicts"]) == (100, 0, {})
    assert store.document("d99").text == long[99]["text"]
    assert len(queue.messages) == 50


def test_a_bad_line_is_told_by_its_number(client: TestClient) -> None:
    answer = client.post("/v1/documents", content=LINES + b"nonsense\n", headers=STREAM)

    job = answer.json()
    assert (answer.status_code, job["documents"], job["refused"]) == (202, 2, 1)
    [refusal] = job["refusals"]
    assert (refusal["line"], refusal["id"]) == (3, None)
    assert "Invalid JSON" in refusal["reason"]
    assert client.get(answer.headers["location"]).json()["refusals"] == [refusal]


def test_lines_that_are_no_documents_at_all_are_refused(client: TestClient) -> None:
    answer = client.post("/v1/documents", content=b"id,title\n1,oboe\n", headers=STREAM)

    assert answer.status_code == 422
    assert "line 1: Invalid JSON" in answer.json()["detail"]


def test_an_answer_that_takes_long_is_not_silent(store: MemoryStore) -> None:
    answer = AcceptedJob(**store.accept([document_of("d1")]).model_dump())

    async def slowly() -> list[str]:
        gate = asyncio.Event()

        async def take_in() -> None:
            await gate.wait()

        said = []
        async for each in once_taken_in(asyncio.create_task(take_in()), answer, 0.001):
            said.append(each)
            if len(said) == 3:
                gate.set()
        return said

    *before, last = asyncio.run(slowly())

    assert len(before) >= 3
    assert set(before) == {"\n"}
    assert AcceptedJob.model_validate_json("".join([*before, last])) == answer


def test_lines_bring_queries_of_the_generator_that_the_request_names(
    client: TestClient, store: MemoryStore
) -> None:
    line = json.dumps({**OBOE, "synthetic_queries": ["double reed"]})

    client.post("/v1/documents?generator=slm-1", content=line, headers=STREAM)

    assert store.synthetic_queries(store.document("oboe"), "slm-1") is not None


def test_a_client_that_leaves_can_come_back_and_go_on(
    store: MemoryStore, dispatcher: Dispatcher
) -> None:
    app = build_app(AugmentationSettings(upload_chunk_bytes=1), store, dispatcher)
    headers = {**STREAM, **KEY}

    async def three_calls() -> list[Call]:
        async with started(app):
            first = Call(app, "/v1/documents", LINES[:120], headers)
            await until(lambda: any(each.at.lines for each in store._uploads.values()))
            second = Call(app, "/v1/documents", LINES, headers)
            await second.task
            first.leave()
            await first.task
            assert store.counts().accepted == 0
            third = Call(app, "/v1/documents", LINES, headers)
            third.end()
            await third.task
            return [first, second, third]

    first, second, third = asyncio.run(three_calls())

    assert (first.status, second.status, third.status) == (499, 409, 202)
    assert int(second.headers["retry-after"]) >= 1
    assert json.loads(third.text)["documents"] == 2


def test_both_ways_to_hand_in_are_described(client: TestClient) -> None:
    operation = client.get("/openapi.json").json()["paths"]["/v1/documents"]["post"]

    assert set(operation["requestBody"]["content"]) == {"application/json", NDJSON}
    assert {"202", "409", "422", "503"} <= set(operation["responses"])
    assert {each["name"] for each in operation["parameters"]} == {"idempotency-key", "generator"}
