"""What asking for a key costs a request: the same route without access control, with keys, and with keys off.

In process, one request after the other, the three in turns; CPU time of the thread, and the least of many
rounds, since a round is disturbed by whatever else the machine does, and never sped up by it.
"""

from __future__ import annotations

import asyncio
import json
import sys
import tempfile
import time
from argparse import ArgumentParser, Namespace
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Response

from loadtests import results
from shared.keys import Scope, add_key, new_key
from shared.settings import CommonSettings
from shared.telemetry import configure_logging
from shared.web import create_app
from shared.web.access import access_of

KEYS = 10
_PATH = "/v1/ads"
_ROUNDS, _REQUESTS = 40, 500

Figures = dict[str, str | int | float | None]


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print, and save where asked."""
    options = _options(arguments)
    configure_logging("ERROR")
    figures = asyncio.run(measure(rounds=options.rounds))
    print(json.dumps(figures) if options.json else results.markdown_table(figures))
    if options.save:
        results.save("access", figures)
    return 0


async def measure(*, rounds: int = _ROUNDS) -> Figures:
    """Return microseconds of CPU a request, by the kind of access control."""
    with tempfile.TemporaryDirectory(prefix="skim-loadtest-") as folder:
        home = Path(folder)
        token = ""
        for number in range(KEYS):
            token, key = new_key(f"key-{number}", [Scope.READ])
            add_key(home / "keys", key)
        apps = {
            "open": _app(None),
            "keys": _app(CommonSettings(home=home, auth="keys", requests_per_second=1e9)),
            "keys_off": _app(CommonSettings(home=home, auth="off", requests_per_second=1e9)),
        }
        least = dict.fromkeys(apps, float("inf"))
        for _ in range(rounds):
            for name, app in apps.items():
                least[name] = min(least[name], await _round(app, token))
    return {
        **{f"{name}_us": round(microseconds, 1) for name, microseconds in least.items()},
        "keys_cost_us": round(least["keys"] - least["open"], 1),
        "keys_off_cost_us": round(least["keys_off"] - least["open"], 1),
        "keys": KEYS,
    }


def _app(settings: CommonSettings | None) -> FastAPI:
    """Return a service whose one route does nothing."""

    @asynccontextmanager
    async def _lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield

    async def _check_ready(_: FastAPI) -> None:
        pass

    app = create_app("bare", "", _lifespan, check_ready=_check_ready, max_body_bytes=1_000)
    app.state.access = access_of(settings) if settings else None

    @app.get(_PATH)
    async def _ads() -> Response:
        return Response(b"{}", media_type="application/json")

    return app


async def _round(app: FastAPI, token: str) -> float:
    """Return the microseconds of CPU of one of some hundred requests."""
    refused: list[int] = []

    async def _receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def _send(message: Any) -> None:  # noqa: ANN401  (an ASGI message)
        if message.get("status", 200) != 200:
            refused.append(message["status"])

    started = time.thread_time()
    for _ in range(_REQUESTS):
        await app(_scope(token), _receive, _send)
    seconds = time.thread_time() - started
    if refused:
        raise RuntimeError(f"{len(refused)} requests were refused, the first with {refused[0]}")
    return seconds / _REQUESTS * 1e6


def _scope(token: str) -> dict[str, Any]:
    return {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "GET",
        "scheme": "http",
        "path": _PATH,
        "raw_path": _PATH.encode(),
        "query_string": b"query=red%20wine&k=10",
        "root_path": "",
        "headers": [
            (b"host", b"127.0.0.1:8100"),
            (b"user-agent", b"loadtests"),
            (b"accept", b"*/*"),
            (b"authorization", f"Bearer {token}".encode()),
        ],
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 8100),
    }


def _options(arguments: Sequence[str] | None) -> Namespace:
    parser = ArgumentParser(prog="python -m loadtests.access", description=__doc__)
    parser.add_argument("--rounds", type=int, default=_ROUNDS, help="How often each is measured.")
    parser.add_argument("--json", action="store_true", help="Print one line of JSON.")
    parser.add_argument("--save", action="store_true", help="Keep the figures in results/.")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
