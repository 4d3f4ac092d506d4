"""Uploads to the real service in front of a real Redis, and either is killed: `pytest -m chaos`."""

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import httpx
import pytest
import redis

from loadtests.service import Service, started
from shared.clients import AugmentationClient
from shared.contracts.generation import NDJSON
from shared.errors import NotFound
from shared.store import RedisStore
from shared.store.server import RedisServer
from tests.support.documents import document_of

pytestmark = pytest.mark.chaos

DOCUMENTS = 4_000
LINES = [b'{"id":"d%04d","title":"thing %d"}' % (at, at) for at in range(DOCUMENTS)]
HEADERS = {"content-type": NDJSON, "idempotency-key": "k1"}
PATIENCE_SECONDS = 20


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RedisServer]:
    with RedisServer(tmp_path / "redis") as server:
        yield server


@pytest.fixture
def store(server: RedisServer) -> RedisStore:
    return RedisStore.at(server.url, retries=20)


Start = Callable[[], AbstractContextManager[Service]]


@pytest.fixture
def start(server: RedisServer, tmp_path: Path) -> Start:
    environment = {
        "SKIM_REDIS_URL": server.url,
        "SKIM_AUGMENTATION_UPLOAD_IDLE_SECONDS": "2",
        "SKIM_AUGMENTATION_UPLOAD_CHUNK_BYTES": "4000",
        "SKIM_AUGMENTATION_MAX_EVENT_STREAMS": "1",
    }
    return lambda: started("augmentation", tmp_path, environment=environment)


def until(is_so: Callable[[], object]) -> None:
    ends = time.monotonic() + PATIENCE_SECONDS
    while not is_so():
        assert time.monotonic() < ends
        time.sleep(0.01)


def upload_with(service: Service, server: RedisServer, fault: Callable[[], None]) -> int | None:
    """Upload all lines, with a fault once half of them have begun to be staged; return the status."""

    def lines() -> Iterator[bytes]:
        yield b"\n".join([*LINES[: DOCUMENTS // 2], b""])
        with redis.Redis.from_url(server.url) as client:
            until(lambda: client.keys("skim:1:staged:*"))
        fault()
        yield b"\n".join([*LINES[DOCUMENTS // 2 :], b""])

    try:
        answer = httpx.post(f"{service.url}/v1/documents", content=lines(), headers=HEADERS)
    except httpx.HTTPError:
        return None
    return answer.status_code


def upload_again(service: Service, store: RedisStore) -> None:
    """Upload as `skim augment` does, and see that every document was taken in once."""
    with AugmentationClient(service.url) as client:
        job = client.upload_documents(lambda: LINES, "k1")
    counts = store.counts()
    assert (job.documents, job.refused) == (DOCUMENTS, 0)
    assert (counts.documents, counts.accepted, counts.waiting) == (DOCUMENTS,) * 3
    assert store.sealed_uploads() == []
    assert len(store.jobs(9)[0]) == 1


def test_an_upload_whose_service_was_killed_goes_on_in_the_next(
    start: Start, server: RedisServer, store: RedisStore
) -> None:
    with start() as service:
        status = upload_with(service, server, lambda: os.kill(service.pid, signal.SIGKILL))

    assert status is None
    assert (store.counts().accepted, store.jobs(9), store.abandoned(9)) == (0, ([], None), {})
    with pytest.raises(NotFound):
        store.document("d0000")
    with start() as service:
        upload_again(service, store)


def test_an_upload_during_which_redis_was_killed_is_whole_in_the_end(
    start: Start, server: RedisServer, store: RedisStore
) -> None:
    def kill_and_start() -> None:
        server.kill()
        server.start()

    with start() as service:
        status = upload_with(service, server, kill_and_start)

        assert status in {202, 503}
        upload_again(service, store)


def test_while_redis_is_away_an_upload_is_refused_and_goes_on_later(
    start: Start, server: RedisServer, store: RedisStore
) -> None:
    with start() as service:
        assert upload_with(service, server, server.kill) == 503
        server.start()

        assert store.counts().accepted == 0
        upload_again(service, store)


def test_a_client_that_leaves_a_stream_of_events_frees_its_seat(
    start: Start, store: RedisStore
) -> None:
    with start() as service:
        events = f"{service.url}/v1/jobs/{store.accept([document_of('d1')]).id}/events"

        def is_let_in() -> bool:
            with httpx.stream("GET", events) as answer:
                return answer.status_code == httpx.codes.OK

        with httpx.stream("GET", events) as first:
            said = first.iter_text()
            assert next(said).startswith("retry:")
            assert not is_let_in()
            said.close()

        until(is_let_in)
