import gzip
import lzma
from pathlib import Path

import pytest
import redis
from typer.testing import CliRunner

from services.cli.__main__ import app
from services.cli.erasure import Needle, places_of
from shared.contracts.document import Document
from shared.settings import CommonSettings
from shared.store import RedisStore
from shared.store.server import RedisServer
from tests.support.documents import label_of, revision_of


@pytest.mark.parametrize(
    "found",
    ['a "quoted" é', 'A "QUOTED" é', r"a \"quoted\" é", r"a \"quoted\" \u00e9"],
)
def test_a_text_is_found_however_json_spells_it(found: str) -> None:
    assert Needle('a "quoted" é')(f"before {found} after".encode())


def test_another_text_is_not_found() -> None:
    assert not Needle("canary")(b"a can ary")


def test_every_kind_of_key_is_searched(
    redis_store: RedisStore, redis_client: redis.Redis, tmp_path: Path
) -> None:
    redis_client.set("a string", "the canary")
    redis_client.hset("a hash", "field", "the canary")
    redis_client.hset("a field", "the canary", "value")
    redis_client.sadd("a set", "the canary")
    redis_client.zadd("a sorted set", {"the canary": 1.5})
    redis_client.rpush("a list", *["x"] * 2_500, "the canary")
    redis_client.set("the canary", "x")
    redis_client.set("another", "x")

    places = set(places_of("CANARY", CommonSettings(home=tmp_path), redis_store))

    assert places == {
        f"redis: {name}"
        for name in (
            "a string",
            "a hash",
            "a field",
            "a set",
            "a sorted set",
            "a list",
            "the canary",
        )
    }


def test_every_file_is_searched_packed_ones_and_long_ones_too(
    redis_store: RedisStore, tmp_path: Path
) -> None:
    (tmp_path / "deep" / "er").mkdir(parents=True)
    (tmp_path / "deep" / "er" / "plain").write_bytes(b"\0canary\0")
    (tmp_path / "packed.gz").write_bytes(gzip.compress(b"canary"))
    (tmp_path / "packed.xz").write_bytes(lzma.compress(b"canary"))
    (tmp_path / "broken.gz").write_bytes(b"no gzip, and a canary")
    (tmp_path / "between").write_bytes(b"x" * ((1 << 22) - 3) + b"canary" + b"x" * 100)
    (tmp_path / "innocent").write_bytes(b"can ary")

    places = list(places_of("canary", CommonSettings(home=tmp_path), redis_store))

    assert {Path(place).name for place in places} == {
        "plain",
        "packed.gz",
        "packed.xz",
        "broken.gz",
        "between",
    }


def test_the_files_of_a_server_forget_what_was_deleted(tmp_path: Path) -> None:
    document = Document(id="d1", title="the canary", text="played " * 50)
    with RedisServer(tmp_path / "redis") as server:
        store = RedisStore.at(server.url)
        store.accept([document])
        store.write_labels("d1", revision_of(document, label_of("q1", 0.9, "canary query")))
        common = CommonSettings(home=tmp_path)
        before = list(places_of("canary", common, store))
        store.remove_documents(["d1"])
        deleted = list(places_of("canary", common, store))

        store.rewrite_files()

        assert any(place.startswith("redis: ") for place in before)
        assert deleted
        assert all("appendonlydir" in place for place in deleted)
        assert list(places_of("canary", common, store)) == []


def test_find_says_where_by_its_exit_code_too(
    redis_server: RedisServer, redis_client: redis.Redis, tmp_path: Path
) -> None:
    environment = {"SKIM_REDIS_URL": redis_server.url, "SKIM_HOME": str(tmp_path)}
    none = CliRunner().invoke(app, ["store", "find", "canary"], env=environment)
    redis_client.set("skim:x", "canary")
    one = CliRunner().invoke(app, ["store", "find", "canary"], env=environment)

    assert (none.exit_code, one.exit_code) == (0, 1)
    assert "redis: skim:x" in one.stdout
