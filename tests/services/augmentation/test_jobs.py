"""Jobs over HTTP: listed, cancelled, and followed as they go."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from services.augmentation.app import build_app
from services.augmentation.augmenter import Augmenter
from services.augmentation.dispatcher import Dispatcher
from services.augmentation.events import events_of
from services.augmentation.settings import AugmentationSettings
from shared.contracts.augmentation import Job
from shared.errors import NotFound, Unavailable
from shared.store import MemoryStore
from tests.support.asgi import Call, started, until
from tests.support.documents import document_of

D1, D2 = document_of("d1"), document_of("d2")
QUICK = AugmentationSettings(event_seconds=0.001, heartbeat_seconds=1e-9, max_event_streams=2)


@pytest.fixture
def app(store: MemoryStore, dispatcher: Dispatcher) -> FastAPI:
    return build_app(QUICK, store, dispatcher)


@pytest.fixture
def client(app: FastAPI) -> Iterator[TestClient]:
    with TestClient(app) as client:
        yield client


def events_in(text: str) -> list[dict[str, Any]]:
    """Return the data of the `job` events of a stream."""
    blocks = [block.splitlines() for block in text.split("\n\n")]
    return [
        json.loads(lines[1].removeprefix("data: "))
        for lines in blocks
        if lines and lines[0] == "event: job"
    ]


# Lists


def test_jobs_are_listed_page_by_page(client: TestClient, store: MemoryStore) -> None:
    jobs = [store.accept([D1]).id for _ in range(3)]

    first = client.get("/v1/jobs", params={"limit": 2}).json()
    second = client.get("/v1/jobs", params={"limit": 2, "cursor": first["next_cursor"]}).json()

    assert [each["id"] for each in first["jobs"] + second["jobs"]] == jobs[::-1]
    assert second["next_cursor"] is None


@pytest.mark.parametrize("query", ["cursor=nonsense", "limit=0", "limit=1001", "limit=x"])
def test_a_page_that_is_none_is_refused(client: TestClient, query: str) -> None:
    assert client.get(f"/v1/jobs?{query}").status_code == 422


# Cancelling


def test_a_cancelled_job_says_what_was_not_worked_on(
    client: TestClient, store: MemoryStore
) -> None:
    job = store.accept([D1, D2])
    store.finish_document(job.id, "d1", labels=1)

    answer = client.post(f"/v1/jobs/{job.id}:cancel")

    body = answer.json()
    assert answer.status_code == 200
    assert (body["state"], body["done"], body["cancelled"]) == ("cancelled", 1, 1)
    assert client.get(f"/v1/jobs/{job.id}").json() == body
    assert client.post(f"/v1/jobs/{job.id}:cancel").json() == body
    assert client.get("/v1/counts").json()["cancelled"] == 1


def test_a_worker_leaves_a_cancelled_job_alone(client: TestClient, store: MemoryStore) -> None:
    job = store.accept([D1])
    client.post(f"/v1/jobs/{job.id}:cancel")
    nobody: Any = None  # neither service is asked

    Augmenter(store, nobody, nobody, lease_seconds=60).augment(job.id, ["d1"])

    assert store.job(job.id).done == 0


def test_only_a_job_that_may_be_cancelled_is(client: TestClient) -> None:
    remap = client.post("/v1/remaps").json()["id"]

    assert client.post(f"/v1/jobs/{remap}:cancel").status_code == 409
    assert client.post("/v1/jobs/x:cancel").status_code == 404


# Events


def test_progress_is_streamed_to_the_end(app: FastAPI, store: MemoryStore) -> None:
    job = store.accept([D1, D2])

    async def follow() -> Call:
        async with started(app):
            call = Call(app, f"/v1/jobs/{job.id}/events")
            await until(lambda: events_in(call.text))
            store.finish_document(job.id, "d1", labels=3)
            await until(lambda: len(events_in(call.text)) == 2)
            store.finish_document(job.id, "d2", error="too strange")
            await call.task
            return call

    call = asyncio.run(follow())

    assert call.status == 200
    assert call.headers["content-type"].startswith("text/event-stream")
    assert call.headers["cache-control"] == "no-store"
    seen = [(each["state"], each["done"], each["failed"]) for each in events_in(call.text)]
    assert seen == [("accepted", 0, 0), ("running", 1, 0), ("partial", 1, 1)]
    assert "too strange" not in call.text


def test_a_job_that_is_over_is_told_at_once(client: TestClient, store: MemoryStore) -> None:
    job = store.accept([D1])
    store.cancel(job.id)

    [event] = events_in(client.get(f"/v1/jobs/{job.id}/events").text)

    assert event["state"] == "cancelled"
    assert Job.model_validate(event).id == job.id


def test_a_client_that_leaves_frees_its_seat(app: FastAPI, store: MemoryStore) -> None:
    path = f"/v1/jobs/{store.accept([D1]).id}/events"

    async def three_streams() -> tuple[Call, Call]:
        async with started(app):
            first, second = Call(app, path), Call(app, path)
            await until(lambda: events_in(first.text) and events_in(second.text))
            third = Call(app, path)
            await third.task
            first.leave()
            await first.task
            fourth = Call(app, path)
            await until(lambda: events_in(fourth.text))
            for call in (second, fourth):
                call.leave()
                await call.task
            return third, fourth

    third, fourth = asyncio.run(three_streams())

    assert (third.status, fourth.status) == (503, 200)
    assert "retry-after" in third.headers


def test_a_stream_ends_when_the_service_stops(app: FastAPI, store: MemoryStore) -> None:
    path = f"/v1/jobs/{store.accept([D1]).id}/events"

    async def stopped() -> Call:
        async with started(app):
            call = Call(app, path)
            await until(lambda: events_in(call.text))
            app.state.is_stopping = True
            await call.task
            return call

    assert len(events_in(asyncio.run(stopped()).text)) == 1


def test_events_of_an_unknown_job_are_not_found(client: TestClient) -> None:
    assert client.get("/v1/jobs/x/events").status_code == 404


def all_of(first: Job, read: Callable[[], Job], heartbeat_seconds: float = 1e9) -> list[str]:
    async def _all() -> list[str]:
        stream: AsyncIterator[str] = events_of(
            first,
            read,
            is_stopping=lambda: False,
            pause_seconds=0,
            heartbeat_seconds=heartbeat_seconds,
        )
        return [each async for each in stream]

    return asyncio.run(_all())


def test_a_store_that_is_away_for_a_while_does_not_end_the_stream(store: MemoryStore) -> None:
    job = store.accept([D1])
    looks = iter([Unavailable("Redis is away"), None])

    def read() -> Job:
        if (error := next(looks)) is not None:
            raise error
        return store.cancel(job.id)

    said = all_of(job, read)

    assert [each["state"] for each in events_in("".join(said))] == ["accepted", "cancelled"]


def test_a_job_that_goes_ends_its_stream(store: MemoryStore) -> None:
    def read() -> Job:
        raise NotFound("there is no job")

    assert len(events_in("".join(all_of(store.accept([D1]), read)))) == 1


def test_while_nothing_changes_there_is_a_comment_now_and_then(store: MemoryStore) -> None:
    job = store.accept([D1])
    looks = iter([job, job, store.cancel(job.id)])

    said = all_of(job, lambda: next(looks), heartbeat_seconds=0)

    assert said.count(": heartbeat\n\n") == 2
    assert said[0] == "retry: 2000\n\n"
