from collections.abc import Iterator

import pytest
from fastapi.testclient import TestClient

from services.augmentation.app import build_app
from services.augmentation.dispatcher import Dispatcher
from services.augmentation.settings import AugmentationSettings
from services.cli.dead_letters import replay_all
from shared.clients import AugmentationClient
from shared.store import MemoryStore
from tests.support.documents import document_of
from tests.support.in_process import InProcess
from tests.support.queues import FakeQueue

PATH = "/v1/dead-letters"


@pytest.fixture
def app(store: MemoryStore, dispatcher: Dispatcher) -> Iterator[TestClient]:
    app = build_app(AugmentationSettings(), store, dispatcher)
    with TestClient(app, raise_server_exceptions=False) as client:
        yield client


@pytest.fixture
def client(app: TestClient) -> AugmentationClient:
    return AugmentationClient("http://augmentation", attempts=1, transport=InProcess(app))


@pytest.fixture
def job_id(store: MemoryStore) -> str:
    """A job whose five documents have failed."""
    documents = [document_of(f"d{number}") for number in range(5)]
    job = store.accept(documents)
    for each in documents:
        store.finish_document(job.id, each.id, error=f"{each.id} is odd")
    return job.id


def test_dead_letters_are_listed_page_by_page_with_their_reason(
    app: TestClient, job_id: str
) -> None:
    first = app.get(PATH, params={"limit": 3}).json()
    second = app.get(PATH, params={"limit": 3, "cursor": first["next_cursor"]}).json()

    assert (first["total"], second["next_cursor"]) == (5, None)
    dead = first["dead_letters"][0]
    assert (dead["document_id"], dead["job_id"], dead["reason"]) == ("d0", job_id, "d0 is odd")
    assert [each["document_id"] for each in second["dead_letters"]] == ["d3", "d4"]


def test_their_number_is_a_metric(app: TestClient, job_id: str) -> None:
    assert "skim_augmentation_dead_letters 5.0" in app.get("/metrics").text


def test_chosen_documents_are_replayed_in_a_job_of_their_own(
    app: TestClient, store: MemoryStore, queue: FakeQueue, job_id: str
) -> None:
    answer = app.post(f"{PATH}:replay", json={"document_ids": ["d1", "d3", "d9"]})

    replayed = answer.json()["job"]
    assert (answer.status_code, replayed["documents"], answer.json()["left"]) == (202, 2, 3)
    assert answer.headers["location"] == f"/v1/jobs/{replayed['id']}"
    assert queue.messages == [(replayed["id"], ["d1", "d3"])]


def test_a_replay_that_cannot_be_queued_is_accepted_all_the_same(
    app: TestClient, store: MemoryStore, queue: FakeQueue, job_id: str
) -> None:
    queue.is_away = True

    answer = app.post(f"{PATH}:replay")

    assert (answer.status_code, answer.json()["left"]) == (202, 0)
    assert store.counts().waiting == 5


def test_a_replay_of_nothing_begins_no_job(app: TestClient) -> None:
    answer = app.post(f"{PATH}:replay")

    assert (answer.status_code, answer.json()) == (200, {"job": None, "left": 0})


@pytest.mark.parametrize(("chosen", "purged"), [(["d1", "d9"], 1), ([], 5)])
def test_dead_letters_are_purged_some_or_all(
    app: TestClient, store: MemoryStore, job_id: str, chosen: list[str], purged: int
) -> None:
    answer = app.delete(PATH, params={"document_id": chosen})

    assert answer.json() == {"purged": purged}
    assert store.counts().dead_letters == 5 - purged
    assert store.document("d1").id == "d1"


@pytest.mark.parametrize("query", ["limit=0", "limit=1001", "cursor=a%20b"])
def test_an_unusable_page_is_refused(app: TestClient, query: str) -> None:
    assert app.get(f"{PATH}?{query}").status_code == 422


def test_the_command_line_replays_and_reads_every_page(
    client: AugmentationClient, store: MemoryStore
) -> None:
    documents = [document_of(f"d{number:04}") for number in range(1_200)]
    for part in (documents[:600], documents[600:]):
        job = store.accept(part)
        for each in part:
            store.finish_document(job.id, each.id, error="odd")
    assert [each.document_id for each in client.all_dead_letters()] == [d.id for d in documents]

    summary = replay_all(client, [])

    assert (len(store.jobs(9)[0]), summary["documents"], summary["left"]) == (4, 1_200, 0)


def test_documents_that_are_not_dead_are_passed_over(
    client: AugmentationClient, store: MemoryStore, job_id: str
) -> None:
    asked = [f"x{number}" for number in range(1_000)] + ["d2"]

    assert replay_all(client, asked)["documents"] == 1
    assert client.purge_dead_letters(["d4", "d2"]) == 1
