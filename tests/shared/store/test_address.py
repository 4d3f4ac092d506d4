import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from shared.errors import Conflict, InvalidInput
from shared.store import RedisStore
from shared.store.address import RedisAddress
from shared.store.server import RedisServer
from tests.support.documents import document_of
from tests.support.sentinels import WatchedRedis


@pytest.mark.parametrize(
    ("url", "sentinels", "login", "database"),
    [
        ("redis+sentinel://a:1,b:2/3?master=m", [("a", 1), ("b", 2)], "", 3),
        ("sentinel://a:1;sentinel://b:2/3?master=m", [("a", 1), ("b", 2)], "", 3),
        ("sentinel://a:1;b:2?master=m", [("a", 1), ("b", 2)], "", 0),
        ("redis+sentinel://u:p%40@a/0?master=m", [("a", 26379)], "u:p%40@", 0),
        ("redis+sentinel://[::1]:7/?master=m", [("::1", 7)], "", 0),
    ],
)
def test_sentinels_are_read_from_a_url(
    url: str, sentinels: list[tuple[str, int]], login: str, database: int
) -> None:
    address = RedisAddress.of(url)

    assert list(address.sentinels) == sentinels
    assert (address.master, address.login, address.database) == ("m", login, database)


@pytest.mark.parametrize(
    "url",
    [
        "redis+sentinel://a:1/0",
        "redis+sentinel://a:1/0?name=m",
        "redis+sentinel://a:secret/0?master=m",
        "redis+sentinel://u:secret@v:secret@a/0?master=m",
        "redis+sentinel://?master=m",
        "redis+sentinel://a:1,,b/x?master=m",
    ],
)
def test_a_malformed_url_of_sentinels_is_invalid_and_never_quoted(url: str) -> None:
    with pytest.raises(InvalidInput, match=r"redis\+sentinel://HOST:PORT") as caught:
        RedisAddress.of(url)

    assert "secret" not in str(caught.value)


def test_celery_is_told_of_all_sentinels_and_of_the_login() -> None:
    url, options = RedisAddress.of("redis+sentinel://u:p@a:1,[::1]:2/3?master=m").broker

    assert url == "sentinel://u:p@a:1/3;sentinel://u:p@[::1]:2/3"
    assert options == {"master_name": "m"}
    assert RedisAddress.of("redis://u:p@a:1/3").broker == ("redis://u:p@a:1/3", {})


def test_who_closes_the_client_closes_its_connections_to_the_sentinels() -> None:
    address = RedisAddress.of("redis+sentinel://a:1,b:2/0?master=m")
    client = address.client(retries=0, timeout_seconds=1.0)
    closed: list[str] = []

    class Sentinel:
        def __init__(self, name: str) -> None:
            self.close = lambda: closed.append(name)

    client.connection_pool.sentinel_manager.sentinels = [Sentinel("a"), Sentinel("b")]
    client.close()

    assert closed == ["a", "b"]


@pytest.mark.parametrize("url", ["redis+cluster://a:1", "rediss+cluster://a:1/0"])
def test_a_cluster_is_refused_by_its_url(url: str) -> None:
    with pytest.raises(InvalidInput, match="is a cluster's, which the workers' queue cannot use"):
        RedisStore.at(url)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        bus = listener.getsockname()[1]
    folder = tmp_path_factory.mktemp("cluster")
    settings = ["--cluster-enabled", "yes", "--cluster-port", str(bus)]
    with RedisServer(folder, settings=settings) as server:
        yield server


def test_a_cluster_is_refused_by_what_it_says_of_itself(cluster: RedisServer) -> None:
    with pytest.raises(Conflict, match=r"Redis at 127\.0\.0\.1:\d+ is a cluster"):
        RedisStore.at(cluster.url).accept([document_of()])
    with pytest.raises(SystemExit, match=r"^sweeper: Redis at .* is a cluster"):
        RedisStore.of_process("sweeper", cluster.url)


def test_a_process_begins_without_redis() -> None:
    assert RedisStore.of_process("sweeper", "redis://127.0.0.1:1/0")


@pytest.mark.parametrize(
    "command",
    [
        ["-m", "services.augmentation"],
        ["-m", "services.augmentation.sweeper"],
        ["-m", "celery", "-A", "services.augmentation.tasks", "worker"],
    ],
)
def test_processes_end_with_one_line_in_front_of_a_cluster(
    cluster: RedisServer, command: list[str]
) -> None:
    ended = subprocess.run(  # noqa: S603  (our own command)
        [sys.executable, *command],
        env={**os.environ, "SKIM_REDIS_URL": cluster.url, "SKIM_AUTH": "off"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert ended.returncode == 1
    assert ended.stderr.strip().splitlines()[-1].partition(" at ")[0].endswith(": Redis")
    assert "Traceback" not in ended.stderr


def test_the_store_goes_on_with_the_new_master(tmp_path: Path) -> None:
    watched = WatchedRedis(tmp_path)
    watched.start()
    try:
        store = RedisStore.at(watched.url, retries=20)
        store.accept([document_of("d1")])
        watched.fail_over()

        store.accept([document_of("d2")])

        assert store.counts().documents == 2
        watched.fail_over()
        store.accept([document_of("d3")])
        assert store.counts().documents == 3
    finally:
        watched.stop()
