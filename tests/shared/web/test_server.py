import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from services.cli.processes import wait_until
from shared.clients import ServiceClient
from shared.keys import Scope, add_key, new_key

SERVED = """
import sys
from contextlib import asynccontextmanager
from shared.web import create_app, open_connections, serve

@asynccontextmanager
async def lifespan(_):
    yield

async def check_ready(_):
    pass

app = create_app("test", "", lifespan, check_ready=check_ready, max_body_bytes=100)
app.get("/connections")(lambda: open_connections(app))
serve(app, host=sys.argv[1], port=int(sys.argv[2]), log_level="INFO")
"""


def command(host: str, port: int) -> list[str]:
    return [sys.executable, "-c", SERVED, host, str(port)]


def environment(home: Path, **settings: str) -> dict[str, str]:
    ours = {name: value for name, value in os.environ.items() if not name.startswith("SKIM_")}
    return ours | {"SKIM_HOME": str(home), **settings}


@contextmanager
def serving(home: Path, **settings: str) -> Iterator[str]:
    """Run a service on a free port; give its address once it answers."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    process = subprocess.Popen(command("127.0.0.1", port), env=environment(home, **settings))  # noqa: S603
    try:
        base = f"http://127.0.0.1:{port}"
        with ServiceClient(base, attempts=1) as client:
            assert wait_until(client.is_ready, 20)
        yield base
    finally:
        process.terminate()
        process.wait(20)


def test_it_knows_how_many_connections_are_open(tmp_path: Path) -> None:
    with (
        serving(tmp_path, SKIM_AUTH="off") as base,
        httpx.Client(base_url=base) as one,
        httpx.Client(base_url=base) as other,
    ):

        def counted(client: httpx.Client) -> int:
            return int(client.get("/connections").json())

        assert wait_until(lambda: counted(one) == 1, 20)  # the check whether it is up has gone
        assert counted(other) == counted(one) == 2
        other.close()
        assert wait_until(lambda: counted(one) == 1, 20)


def refused(home: Path, host: str, **settings: str) -> str:
    """Return the last words of a service that ends at once."""
    finished = subprocess.run(  # noqa: S603
        command(host, 0),
        env=environment(home, **settings),
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )
    assert finished.returncode == 1
    return finished.stderr


@pytest.mark.parametrize("host", ["0.0.0.0", "::"])  # noqa: S104
def test_with_keys_off_a_service_listens_to_this_machine_only(tmp_path: Path, host: str) -> None:
    said = refused(tmp_path, host, SKIM_AUTH="off")

    assert said == (
        f"SKIM test: SKIM_AUTH is off, so it may listen on a loopback address only, not on {host}\n"
    )


def test_a_service_asks_for_keys_when_nothing_is_set(tmp_path: Path) -> None:
    token, key = new_key("reader", [Scope.READ])
    add_key(tmp_path / "keys", key)

    with serving(tmp_path) as base:
        with_key = {"authorization": f"Bearer {token}"}
        answers = [
            httpx.get(f"{base}/openapi.json", headers=headers, trust_env=False)
            for headers in ({}, with_key)
        ]

    assert [answer.status_code for answer in answers] == [401, 200]
    assert "server" not in answers[0].headers


def test_whoever_is_on_this_machine_cannot_choose_its_address(tmp_path: Path) -> None:
    with serving(tmp_path, SKIM_AUTH="off", SKIM_REQUESTS_PER_SECOND="0.01") as base:
        statuses = [
            httpx.get(
                f"{base}/openapi.json", headers={"x-forwarded-for": each}, trust_env=False
            ).status_code
            for each in ("10.0.0.1", "10.0.0.2")
        ]

    assert statuses == [200, 429]


def test_a_key_that_is_none_ends_the_start_and_is_not_shown(tmp_path: Path) -> None:
    said = refused(tmp_path, "127.0.0.1", SKIM_KEYS="feed read my-secret")

    assert "SKIM_KEYS, line 1" in said
    assert "my-secret" not in said
