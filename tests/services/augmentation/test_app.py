import json
from collections.abc import Iterator

import pytest
from fastapi.testclient import TestClient

from services.augmentation.app import build_app
from services.augmentation.dispatcher import Dispatcher
from services.augmentation.settings import AugmentationSettings
from shared.contracts.augmentation import AcceptedJob, Job
from shared.contracts.synthetic_queries import WrittenQueries
from shared.store import MemoryStore, RedisStore, Remap, Store
from tests.support.documents import document_of, label_of, revision_of
from tests.support.queues import FakeQueue

OBOE = {"id": "oboe", "title": "oboe", "text": "a slender reed", "metadata": {"year": 1690}}
HORN = {"id": "horn", "title": "horn"}


def client_of(store: Store, dispatcher: Dispatcher) -> TestClient:
    return TestClient(
        build_app(AugmentationSettings(), store, dispatcher), raise_server_exceptions=False
    )


@pytest.fixture
def client(store: MemoryStore, dispatcher: Dispatcher) -> Iterator[TestClient]:
    with client_of(store, dispatcher) as client:
        yield client


@pytest.fixture
def client_without_redis(queue: FakeQueue) -> Iterator[TestClient]:
    away = RedisStore.at("redis://:secret@127.0.0.1:1/0", retries=0)
    with client_of(away, Dispatcher(away, queue, batch_size=2, seconds=60)) as client:
        yield client


@pytest.mark.parametrize("body", [OBOE, {"documents": [OBOE]}])
def test_a_document_is_accepted_bare_or_in_a_list(
    client: TestClient, store: MemoryStore, queue: FakeQueue, body: object
) -> None:
    answer = client.post("/v1/documents", json=body)

    job = AcceptedJob.model_validate_json(answer.content)
    assert answer.status_code == 202
    assert answer.headers["location"] == f"/v1/jobs/{job.id}"
    assert store.document("oboe").metadata == {"year": 1690}
    assert queue.messages == [(job.id, ["oboe"])]


def test_a_job_and_its_documents_can_be_followed(client: TestClient, store: MemoryStore) -> None:
    answer = client.post("/v1/documents", json={"documents": [OBOE, HORN]})
    job_id = answer.json()["id"]
    store.write_labels("oboe", revision_of(store.document("oboe"), label_of("q1", 0.9)))
    store.finish_document(job_id, "oboe", labels=1)

    job = client.get(answer.headers["location"]).json()
    assert (job["state"], job["documents"], job["done"], job["labels"]) == ("running", 2, 1, 1)
    assert [each["id"] for each in client.get("/v1/jobs").json()["jobs"]] == [job_id]
    assert client.get("/v1/documents/horn").json()["title"] == "horn"
    [label] = client.get("/v1/documents/oboe/labels").json()["labels"]
    assert label["provenance"]["synthetic_query"] == "reed wind"
    assert client.get("/v1/documents/horn/labels").json()["revision"] is None
    counts = client.get("/v1/counts").json()
    assert (counts["accepted"], counts["waiting"], counts["labels"]) == (2, 1, 1)
    assert counts["jobs"] == {"running": 1}


def test_all_labels_are_exported_a_line_each(client: TestClient, store: MemoryStore) -> None:
    documents = [document_of(f"d{number:03}") for number in range(600)]
    store.accept(documents)
    for document in documents:
        label = label_of("q1", 0.75, probability=0.5)
        store.write_labels(document.id, revision_of(document, label))

    answer = client.get("/v1/labels")

    rows = [json.loads(line) for line in answer.text.splitlines()]
    assert answer.headers["content-type"] == "application/x-ndjson"
    assert rows[0] == {
        "query_id": "q1", "document_id": "d000", "similarity": 0.75, "probability": 0.5,
    }  # fmt: skip
    assert [row["document_id"] for row in rows] == [document.id for document in documents]


def test_what_labels_were_made_from_is_exported_a_document_a_line(
    client: TestClient, store: MemoryStore
) -> None:
    documents = [document_of("oboe"), document_of("horn")]
    store.accept(documents)
    store.write_labels("oboe", revision_of(documents[0], label_of("q1", 0.75)))

    [row] = client.get("/v1/synthetic-queries").text.splitlines()

    assert json.loads(row) == {
        "document_id": "oboe",
        "queries": ["reed wind", "orchestra"],
        "evidence": [[1.0, -0.5], [0.25, None]],
    }


@pytest.mark.parametrize("path", ["/v1/labels", "/v1/synthetic-queries"])
def test_without_labels_an_export_is_empty(client: TestClient, path: str) -> None:
    answer = client.get(path)

    assert (answer.status_code, answer.content) == (200, b"")


@pytest.mark.parametrize(
    ("body", "where"),
    [
        ([], "body"),
        ({}, "body.id"),
        ({"id": "oboe"}, "body.title"),
        ({**OBOE, "title": "  "}, "body.title"),
        ({**OBOE, "id": "a b"}, "body.id"),
        ({**OBOE, "text": "x" * 1_000_000}, "body.text"),
        ({**OBOE, "price": 3}, "body.price"),
        ({"documents": []}, "body.documents"),
        ({"documents": [OBOE, {"id": "horn"}]}, "body.documents.1.title"),
        ({"documents": [HORN] * 1_001}, "body.documents"),
        ({"documents": [OBOE], "extra": 1}, "body.extra"),
    ],
)
def test_bad_input_is_a_problem_that_says_where_and_nothing_is_written(
    client: TestClient, store: MemoryStore, body: object, where: str
) -> None:
    answer = client.post("/v1/documents", json=body)

    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["errors"][0]["where"] == where
    assert store.counts().accepted == 0


def test_duplicate_ids_are_named(client: TestClient) -> None:
    answer = client.post("/v1/documents", json={"documents": [OBOE, HORN, OBOE]})

    assert answer.status_code == 422
    assert "document id 'oboe' occurs twice" in answer.json()["detail"]


def test_queries_written_before_are_kept_under_the_name_of_who_wrote_them(
    client: TestClient, store: MemoryStore
) -> None:
    written = {"generator": "slm-1", "queries": {"oboe": ["double reed"]}}

    answer = client.post(
        "/v1/documents", json={"documents": [OBOE, HORN], "synthetic_queries": written}
    )

    assert answer.status_code == 202
    assert store.synthetic_queries(store.document("oboe"), "slm-1") == WrittenQueries(
        queries=["double reed"]
    )
    assert store.synthetic_queries(store.document("oboe"), "slm-2") is None
    assert store.synthetic_queries(store.document("horn"), "slm-1") is None


def test_queries_for_a_document_that_is_not_there_are_refused(
    client: TestClient, store: MemoryStore
) -> None:
    written = {"generator": "slm-1", "queries": {"harp": ["strings"]}}

    answer = client.post("/v1/documents", json={"documents": [OBOE], "synthetic_queries": written})

    assert answer.status_code == 422
    assert "synthetic queries for 'harp'" in answer.json()["detail"]
    assert store.counts().accepted == 0


@pytest.mark.parametrize(
    "content", [b'{"documents":', b"", b"\xff", b'{"id": "a", "title": "\\ud800"}',
                b'{"id": "a", "title": "t", "metadata": {"price": NaN}}'],
)  # fmt: skip
def test_what_is_no_sound_json_is_a_problem(client: TestClient, content: bytes) -> None:
    answer = client.post(
        "/v1/documents", content=content, headers={"content-type": "application/json"}
    )

    assert answer.status_code in {400, 422}
    assert answer.headers["content-type"] == "application/problem+json"


def test_a_huge_number_in_the_metadata_is_harmless(client: TestClient) -> None:
    answer = client.post("/v1/documents", json={**HORN, "metadata": {"atoms": 10**80}})

    assert answer.status_code == 202
    assert client.get("/v1/documents/horn").json()["metadata"] == {"atoms": 1e80}


def test_a_body_past_the_limit_is_too_large(client: TestClient) -> None:
    answer = client.post("/v1/documents", content=b"x" * 8_000_001)

    assert answer.status_code == 413
    assert "8000000 bytes" in answer.json()["detail"]


@pytest.mark.parametrize("path", ["/v1/jobs/x", "/v1/documents/x", "/v1/documents/x/labels"])
def test_an_unknown_name_is_not_found(client: TestClient, path: str) -> None:
    answer = client.get(path)

    assert answer.status_code == 404
    assert "'x'" in answer.json()["detail"]


def test_what_was_accepted_stays_accepted_when_the_queue_is_away(
    client: TestClient, store: MemoryStore, queue: FakeQueue
) -> None:
    queue.is_away = True

    answer = client.post("/v1/documents", json=OBOE)

    assert answer.status_code == 202
    assert store.abandoned(10) == {answer.json()["id"]: ["oboe"]}


def test_without_redis_everything_but_life_is_unavailable(
    client_without_redis: TestClient, queue: FakeQueue
) -> None:
    assert client_without_redis.get("/livez").status_code == 200
    for answer in (
        client_without_redis.post("/v1/documents", json=OBOE),
        client_without_redis.get("/v1/jobs"),
        client_without_redis.get("/v1/labels"),
        client_without_redis.get("/readyz"),
    ):
        assert answer.status_code == 503
        assert answer.headers["retry-after"]
        assert "Redis at 127.0.0.1:1 does not answer" in answer.json()["detail"]
        assert "secret" not in answer.text
    assert queue.messages == []


def test_metrics_say_what_waits(client: TestClient, client_without_redis: TestClient) -> None:
    client.post("/v1/documents", json={"documents": [OBOE, HORN]})

    assert "skim_augmentation_waiting 2.0" in client.get("/metrics").text
    assert "skim_augmentation_documents_accepted_total 2.0" in client.get("/metrics").text
    assert "skim_augmentation_waiting 2.0" not in client_without_redis.get("/metrics").text


def test_a_document_is_removed_with_its_labels(client: TestClient, store: MemoryStore) -> None:
    client.post("/v1/documents", json={"documents": [OBOE, HORN]})
    store.write_labels("oboe", revision_of(store.document("oboe"), label_of("q1", 0.9)))

    answer = client.delete("/v1/documents/oboe")

    assert (answer.status_code, answer.content) == (204, b"")
    assert client.get("/v1/documents/oboe").status_code == 404
    assert client.get("/v1/labels").content == b""
    assert client.delete("/v1/documents/oboe").status_code == 404
    assert client.get("/v1/documents/horn").status_code == 200


def test_several_documents_are_removed_and_unknown_ones_named(
    client: TestClient, store: MemoryStore
) -> None:
    client.post("/v1/documents", json={"documents": [OBOE, HORN]})

    answer = client.request("DELETE", "/v1/documents", json=["oboe", "harp", "horn"])

    assert answer.json() == {"removed": 2, "unknown": ["harp"]}
    assert store.counts().documents == 0


@pytest.mark.parametrize("body", [[], ["a b"], {"ids": ["oboe"]}, ["x"] * 1_001])
def test_a_list_of_ids_that_is_none_removes_nothing(
    client: TestClient, store: MemoryStore, body: object
) -> None:
    client.post("/v1/documents", json=OBOE)

    assert client.request("DELETE", "/v1/documents", json=body).status_code == 422
    assert store.counts().documents == 1


def test_a_remap_of_everything_is_a_job(client: TestClient, store: MemoryStore) -> None:
    answer = client.post("/v1/remaps")

    job = Job.model_validate_json(answer.content)
    assert (answer.status_code, answer.headers["location"]) == (202, f"/v1/jobs/{job.id}")
    assert client.get(f"/v1/jobs/{job.id}").json()["kind"] == "remap"
    assert (store.opening(), store.remap_of(job.id)) == ([job.id], Remap())


def test_a_train_querys_documents_are_listed_best_first(
    client: TestClient, store: MemoryStore
) -> None:
    client.post("/v1/documents", json={"documents": [OBOE, HORN]})
    for document_id, similarity in (("oboe", 0.7), ("horn", 0.9)):
        document = store.document(document_id)
        store.write_labels(document_id, revision_of(document, label_of("q1", similarity)))

    answer = client.get("/v1/train-queries/q1/documents", params={"limit": 1}).json()

    assert answer == {
        "query_id": "q1",
        "total": 2,
        "documents": [{"document_id": "horn", "similarity": 0.9}],
    }
    assert client.get("/v1/train-queries/q9/documents").json()["documents"] == []
    assert client.get("/v1/train-queries/q1/documents?limit=0").status_code == 422


def test_verdicts_come_back_as_lines_of_all_documents_or_of_one(
    client: TestClient, store: MemoryStore
) -> None:
    store.accept([document_of("oboe"), document_of("horn")])
    reviews = [
        {"document_id": "oboe", "query_id": "q1", "verdict": "accept"},
        {"document_id": "horn", "query_id": "q1", "verdict": "reject"},
    ]
    kept = client.put("/v1/reviews", json={"reviews": reviews})

    everything = [json.loads(line) for line in client.get("/v1/reviews").text.splitlines()]
    of_oboe = client.get("/v1/reviews", params={"document_id": "oboe"}).text
    assert kept.json() == {"kept": 2, "withdrawn": 0}
    assert [(each["document_id"], each["verdict"]) for each in everything] == [
        ("horn", "reject"),
        ("oboe", "accept"),
    ]
    assert [json.loads(line)["document_id"] for line in of_oboe.splitlines()] == ["oboe"]


@pytest.mark.parametrize(
    ("reviews", "status"),
    [
        ([], 422),
        ([{"document_id": "oboe", "query_id": "q1", "verdict": "maybe"}], 422),
        ([{"document_id": "oboe", "query_id": "q1", "verdict": "accept"}] * 2, 422),
        ([{"document_id": "oboe", "query_id": "q1", "verdict": "accept"}], 404),
    ],
)
def test_what_is_no_verdict_on_a_document_is_refused(
    client: TestClient, reviews: object, status: int
) -> None:
    answer = client.put("/v1/reviews", json={"reviews": reviews})

    assert answer.status_code == status
    assert client.get("/v1/reviews").text == ""
