"""A rival that answers: processes of its own, on a free loopback port, in a session of its own."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import httpx
import orjson

from loadtests import closed_loop, service
from loadtests.peers.inference.protocol import PATH, K
from loadtests.peers.process import last_words, peer_environment
from shared.errors import Expired, Unavailable

HOST = service.HOST
OFFLINE: Mapping[str, str] = {
    "HF_HUB_OFFLINE": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "ANONYMIZED_TELEMETRY": "False",
    "DO_NOT_TRACK": "1",
}
"""Nobody asks a model hub, nobody tells how it is used."""
_UNCACHED = {"SKIM_INFERENCE_CACHE_BYTES": "0"}
_STOP_SECONDS = 15


@dataclass(frozen=True)
class Served:
    """A service that answers `GET PATH?query=&LIMIT=`."""

    name: str
    address: tuple[str, int]
    path: str
    limit: str
    ids_of: Callable[[bytes], list[str]]
    """The ads in the body of an answer, best first."""
    rss_mb: Callable[[], int]
    """Of all its processes."""
    cpu_seconds: Callable[[], float]
    """All its processes' so far."""

    def request(self, query: str, k: int = K) -> bytes:
        """Return the bytes that ask for the top ads of a query."""
        parameters: dict[str, str | int] = {"query": query, self.limit: k}
        return closed_loop.get_request(HOST, self.path, **parameters)

    def top(self, queries: Sequence[str], k: int = K) -> list[list[str]]:
        """Return the ids of the top ads of each query.

        Raises:
            Unavailable: an answer is an error, or none.
        """
        found = []
        with httpx.Client(
            base_url="http://{}:{}".format(*self.address), trust_env=False
        ) as client:
            for query in queries:
                try:
                    answer = client.get(self.path, params={"query": query, self.limit: k})
                    answer.raise_for_status()
                except httpx.HTTPError as error:
                    raise Unavailable(f"{self.name}: no answer to {query!r} ({error})") from error
                found.append(self.ids_of(answer.content))
        return found


@contextmanager
def ours(bundles: Path) -> Iterator[Served]:
    """Run our own service over published bundles, its cache of answers off."""
    with tempfile.TemporaryDirectory(prefix="skim-rivals-") as scratch:
        home = Path(scratch)
        (home / "bundles").symlink_to(bundles)
        with service.started("inference", home, environment=_UNCACHED) as started:
            yield Served(
                "skim",
                (started.host, started.port),
                "/v1/ads",
                "k",
                lambda body: [ad["id"] for ad in orjson.loads(body)["ads"]],
                lambda: round(started.resident_bytes() / 1e6),
                started.cpu_seconds,
            )


@contextmanager
def rival(name: str, command: Sequence[str], *, start_seconds: float = 180.0) -> Iterator[Served]:
    """Run a rival, give it once it answers a query, stop all its processes at the end.

    Args:
        name: of the rival.
        command: takes `--port N` as well.
        start_seconds: how long it may take to answer.

    Raises:
        Unavailable: it stopped; the message has its last words.
        Expired: it did not answer in time.
    """
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port = probe.getsockname()[1]
    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen(  # noqa: S603
            [*command, "--port", str(port)],
            env=peer_environment(OFFLINE),
            stdout=said,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            _wait_until_it_answers(name, process, port, said, start_seconds)
            yield Served(
                name,
                (HOST, port),
                PATH,
                "limit",
                lambda body: [str(ad["id"]) for ad in orjson.loads(body)],
                lambda: session_rss_mb(process.pid),
                lambda: session_cpu_seconds(process.pid),
            )
        finally:
            _stop(process)


def session_rss_mb(session: int) -> int:
    """Return the resident memory of all processes of a session, on Linux."""
    pages = 0
    for process, _ in _session(session):
        with suppress(OSError):
            pages += int((process / "statm").read_text().split()[1])
    return round(pages * os.sysconf("SC_PAGE_SIZE") / 1e6)


def session_cpu_seconds(session: int) -> float:
    """Return how long all processes of a session have worked so far, on Linux."""
    ticks = sum(int(fields[11]) + int(fields[12]) for _, fields in _session(session))
    return ticks / os.sysconf("SC_CLK_TCK")


def _session(session: int) -> Iterator[tuple[Path, list[str]]]:
    """Yield the processes of a session, each with what its `stat` says after its name."""
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            fields = (process / "stat").read_text().rpartition(")")[2].split()
            if int(fields[3]) == session:
                yield process, fields


def _wait_until_it_answers(
    name: str, process: subprocess.Popen[bytes], port: int, said: IO[bytes], seconds: float
) -> None:
    ends = time.monotonic() + seconds
    url = f"http://{HOST}:{port}{PATH}"
    while time.monotonic() < ends:
        if process.poll() is not None:
            said.seek(0)
            raise Unavailable(f"{name} stopped: {last_words(said.read())}")
        with suppress(httpx.HTTPError):
            answer = httpx.get(url, params={"query": "boat"}, timeout=5.0, trust_env=False)
            if answer.is_success:
                return
        time.sleep(0.1)
    said.seek(0)
    raise Expired(f"{name} did not answer in {seconds:.0f} s: {last_words(said.read())}")


def _stop(process: subprocess.Popen[bytes]) -> None:
    """End what the process started, too: it leads their group."""
    for end in (signal.SIGTERM, signal.SIGKILL):
        with suppress(ProcessLookupError):
            os.killpg(process.pid, end)
        with suppress(subprocess.TimeoutExpired):
            process.wait(_STOP_SECONDS)
