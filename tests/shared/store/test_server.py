from pathlib import Path

import pytest

from shared.errors import Unavailable
from shared.store import RedisStore
from shared.store.server import RedisServer, server_command


def test_the_command_keeps_data_in_its_folder_and_forgets_nothing(tmp_path: Path) -> None:
    program, *options = server_command(tmp_path / "redis", 7001)

    settings = dict(zip(options[::2], options[1::2], strict=True))
    assert Path(program).is_file()
    assert settings["--dir"] == str(tmp_path / "redis")
    assert settings["--port"] == "7001"
    assert settings["--appendonly"] == "yes"
    assert settings["--appendfsync"] == "always"
    assert settings["--maxmemory-policy"] == "noeviction"
    assert settings["--bind"] == "127.0.0.1"


def test_a_server_answers_when_started_and_is_gone_when_stopped(tmp_path: Path) -> None:
    with RedisServer(tmp_path) as server:
        RedisStore.at(server.url).check()

    with pytest.raises(Unavailable):
        RedisStore.at(server.url).check()


def test_a_server_that_cannot_start_says_why(tmp_path: Path, redis_server: RedisServer) -> None:
    port = int(redis_server.url.rsplit(":")[-1].split("/")[0])

    with pytest.raises(Unavailable, match="Address already in use"):
        RedisServer(tmp_path, port).start()
