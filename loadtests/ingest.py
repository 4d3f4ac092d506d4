"""How fast are documents taken in? `python -m loadtests.ingest --json [--documents 100000] [--save]`.

One NDJSON upload of tiny documents to the real augmentation service, a process of its own, in front of a real Valkey with
its append-only file on; no worker runs, so the documents are stored and queued and no more. The clock runs from
the first byte of the request to the last of the answer, when every document can be read. Beside the speed: the
service's and the client's memory, which must not grow with the upload, and the store's, which holds it.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Self

import httpx
import redis

from loadtests import results
from loadtests.service import Service, resident_bytes, started
from shared.contracts.augmentation import AcceptedJob, Counts
from shared.contracts.generation import NDJSON
from shared.errors import Conflict, SkimError
from shared.store.server import RedisServer

DOCUMENTS = 100_000
_WARM_UP_DOCUMENTS = 2_000
_BLOCK_LINES = 1_000
_SAMPLE_SECONDS = 0.02
_TIMEOUT_SECONDS = 3_600.0
_MEBIBYTE = 2**20
_MOST_GROWTH = 1.1

Figures = dict[str, str | int | float | None]


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print, and save where asked; 1 if an error of ours stopped it or memory grew with the upload."""
    options = _options(arguments)
    try:
        figures = measure(options.documents)
    except SkimError as error:
        print(f"loadtests.ingest: {error}", file=sys.stderr)
        return 1
    print(json.dumps(figures) if options.json else results.markdown_table(figures))
    if options.save:
        command = f"python -m loadtests.ingest --json --documents {options.documents}"
        results.save("ingest", figures, command=command)
    return int(not is_flat(figures))


def measure(documents: int) -> Figures:
    """Return the figures of one upload.

    Raises:
        Conflict: not every document was accepted.
        Unavailable: the service or the store did not start.
    """
    with tempfile.TemporaryDirectory(prefix="skim-loadtest-") as folder:
        home = Path(folder)
        with (
            RedisServer(home / "redis") as server,
            started("augmentation", home, environment={"SKIM_REDIS_URL": server.url}) as service,
            redis.Redis.from_url(server.url) as store,
        ):
            _upload(service, "warm", _WARM_UP_DOCUMENTS)
            before, worked = _Store.of(store), service.cpu_seconds()
            memory, own = Memory(service.pid), Memory(os.getpid())
            with memory, own:
                seconds = _upload(service, "d", documents)
            worked, after = service.cpu_seconds() - worked, _Store.of(store)
            _check(service, documents + _WARM_UP_DOCUMENTS)
    return figures_of(documents, seconds, memory.samples, own.samples) | {
        "store_peak_rss_mb": round(after.peak_resident_bytes / _MEBIBYTE, 1),
        "api_cpu_us_per_document": round(worked / documents * 1e6, 1),
        "store_cpu_us_per_document": round(
            (after.cpu_seconds - before.cpu_seconds) / documents * 1e6, 1
        ),
        "store_bytes_per_document": round((after.bytes - before.bytes) / documents),
    }


class _Store(NamedTuple):
    """What the store has used so far."""

    bytes: int
    cpu_seconds: float
    peak_resident_bytes: int
    """Since it started, with what it needs to write its files anew."""

    @classmethod
    def of(cls, client: redis.Redis) -> Self:
        memory: Any = client.info("memory")
        cpu: Any = client.info("cpu")
        worked = float(cpu["used_cpu_user"]) + float(cpu["used_cpu_sys"])
        server: Any = client.info("server")
        return cls(int(memory["used_memory"]), worked, peak_resident_bytes(server["process_id"]))


def peak_resident_bytes(pid: int) -> int:
    """Return the most memory that a process had at once."""
    status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    return int(status.partition("VmHWM:")[2].split()[0]) * 1024


def figures_of(
    documents: int, seconds: float, samples: Sequence[int], own: Sequence[int]
) -> Figures:
    """Return speed and memory.

    Args:
        documents: how many were uploaded.
        seconds: from the first byte to the answer.
        samples: resident bytes of the service, evenly over that time.
        own: of the client, likewise.
    """
    return {
        "documents": documents,
        "seconds": round(seconds, 2),
        "ingest_documents_per_second": round(documents / seconds),
        "api_rss_mb_before": round(samples[0] / _MEBIBYTE, 1),
        "api_rss_mb_after_a_tenth": round(_early_peak(samples) / _MEBIBYTE, 1),
        "api_peak_rss_mb": round(max(samples) / _MEBIBYTE, 1),
        "client_rss_mb_after_a_tenth": round(_early_peak(own) / _MEBIBYTE, 1),
        "client_peak_rss_mb": round(max(own) / _MEBIBYTE, 1),
    }


def is_flat(figures: Figures) -> bool:
    """Return whether neither memory grew by more than a tenth after the first tenth of the upload."""
    return all(
        float(figures[f"{of}_peak_rss_mb"] or 0)
        <= _MOST_GROWTH * float(figures[f"{of}_rss_mb_after_a_tenth"] or 0)
        for of in ("api", "client")
    )


def _early_peak(samples: Sequence[int]) -> int:
    return max(samples[: max(len(samples) // 10, 1)])


def blocks(prefix: str, documents: int) -> Iterator[bytes]:
    """Yield so many tiny documents as lines, a thousand at a time."""
    for start in range(0, documents, _BLOCK_LINES):
        numbers = range(start, min(start + _BLOCK_LINES, documents))
        yield b"".join(
            b'{"id":"%s-%07d","title":"thing %d"}\n' % (prefix.encode(), number, number)
            for number in numbers
        )


class Memory:
    """Looks again and again at how much memory a process has, while the body works."""

    def __init__(self, pid: int) -> None:
        self.samples: list[int] = [resident_bytes(pid)]
        self._pid = pid
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._is_over.wait(_SAMPLE_SECONDS):
            self.samples.append(resident_bytes(self._pid))


def _upload(service: Service, prefix: str, documents: int) -> float:
    """Upload so many documents under a key, and return the seconds it took."""
    headers = {"content-type": NDJSON, "idempotency-key": prefix}
    began = time.perf_counter()
    answer = httpx.post(
        f"{service.url}/v1/documents",
        content=blocks(prefix, documents),
        headers=headers,
        timeout=_TIMEOUT_SECONDS,
        trust_env=False,
    )
    seconds = time.perf_counter() - began
    if answer.status_code != httpx.codes.ACCEPTED:
        raise Conflict(f"the upload was answered {answer.status_code}: {answer.text[:300]}")
    job = AcceptedJob.model_validate_json(answer.content)
    if (job.documents, job.refused) != (documents, 0):
        raise Conflict(f"of {documents} documents {job.documents} were accepted")
    return seconds


def _check(service: Service, documents: int) -> None:
    """See that every document is there and waits."""
    answer = httpx.get(f"{service.url}/v1/counts", trust_env=False)
    counts = Counts.model_validate_json(answer.content)
    if (counts.documents, counts.waiting) != (documents, documents):
        raise Conflict(f"of {documents} documents {counts.waiting} wait")


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m loadtests.ingest", description=__doc__)
    parser.add_argument("--json", action="store_true", help="print one line of JSON")
    parser.add_argument(
        "--save", action="store_true", help="keep the figures in loadtests/results"
    )
    parser.add_argument("--documents", type=int, default=DOCUMENTS, help="how many")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    raise SystemExit(main())
