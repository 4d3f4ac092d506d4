"""How fast are top ads? `python -m loadtests.inference --json [--save] [--seconds 60] [--ads 100000] [--bundle FOLDER] [--growth ADS ...]`.

Starts the real service as a process of its own over 100,000 ads (vectors with the structure of real titles, and the
real encoder; or a published bundle), with its cache of answers off, and asks it over raw keep-alive sockets from this
process: closed loop at 1 and 16 connections, open loop at a fixed rate, at half and at twice what it can, and while it
switches bundles and ads are added. Encoder and search alone are measured in the same run, so that ratios can be trusted.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import cycle, islice
from pathlib import Path

import httpx
import numpy as np
from numpy.typing import NDArray

from loadtests import closed_loop, open_loop, results
from loadtests.queries import DEFAULT, ZipfMix
from loadtests.service import running
from loadtests.vectors import clustered, interpolated
from services.inference.generation import Generation, open_generation
from shared.ad_index import flat_index
from shared.bundle import Counts, activate, current, open_bundle, write_bundle
from shared.contracts.document import Document
from shared.dataset import read_documents
from shared.encoder import SentenceEncoder
from shared.errors import SkimError
from shared.index_choice import recall_of
from shared.settings import CommonSettings
from shared.vector_files import read_vectors

ADS = 100_000
_CLUSTERS, _REAL_TITLES = 500, 4_000
_K, _MANY = 10, 100
_WARM_UP_SECONDS = 2.0
_QUERIES_DRAWN = 5_000
_ENCODED_ALONE = 300
_ALONE_SECONDS = 2.0
_OPEN_RATE, _SWAP_RATE = 400.0, 300.0
_TURNS, _SWAP_TURNS = 4, 2
_UNCACHED = {"SKIM_INFERENCE_CACHE_BYTES": "0"}

Figures = dict[str, str | int | float | None]
Address = tuple[str, int]


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print, and save where asked; 1 if an error of ours stopped it or a request failed."""
    options = _options(arguments)
    if options.growth:
        return _grow(options.growth, options)
    try:
        figures = measure(ads=options.ads, seconds=options.seconds, bundle=options.bundle)
    except SkimError as error:
        print(f"loadtests.inference: {error}", file=sys.stderr)
        return 1
    print(json.dumps(figures) if options.json else results.markdown_table(figures))
    if options.save:
        results.save("inference", figures)
    return int(bool(figures["errors"]))


def measure(*, ads: int, seconds: float, bundle: Path | None = None) -> Figures:
    """Return the figures of one run.

    Whatever is compared takes turns: a machine that is slow for some seconds is so for both.

    Args:
        ads: how many, where no bundle is given.
        seconds: of load, a ninth for each part.
        bundle: a published bundle to serve instead.
    """
    queries = ZipfMix(DEFAULT).draw(_QUERIES_DRAWN)
    requests, many = (_requests(queries, k) for k in (_K, _MANY))
    part, loads = seconds / 9, _Loads()
    with tempfile.TemporaryDirectory(prefix="skim-loadtest-") as folder:
        home = Path(folder)
        publish(home / "bundles", ads, bundle)
        alone = Alone(current(home / "bundles"))
        started = time.perf_counter()
        with running("inference", home, environment=_UNCACHED) as address:
            cold_start = time.perf_counter() - started
            closed_loop.run(address, requests, connections=16, seconds=_WARM_UP_SECONDS)
            for _ in range(_TURNS):
                alone.ask(queries[: _ENCODED_ALONE // _TURNS])
                loads.take_turn(address, requests, many, part / _TURNS)
            figures = alone.figures(queries[:_ENCODED_ALONE]) | loads.figures()
            figures["cold_start_seconds"] = round(cold_start, 2)
            figures |= _open(address, requests, part, "open", _OPEN_RATE)
            half = float(figures["c16_rps"] or 1) / 2
            figures |= _open(address, requests, part, "open_half", half)
            figures |= _swap(address, requests, 2 * part)
            figures["rss_mb"] = rss_mb(address)
    figures["overhead_ratio"] = round(
        float(figures["c1_p50_ms"] or 0)
        / (float(figures["encode_p50_ms"] or 1) + float(figures["search_p50_ms"] or 0)),
        2,
    )
    return figures


def grown(sizes: Sequence[int], *, seconds: float) -> list[Figures]:
    """Return what answers and memory are at each size of the catalogue.

    Args:
        sizes: ads of each.
        seconds: of load at each, at one connection.
    """
    requests, rows = _requests(ZipfMix(DEFAULT).draw(_QUERIES_DRAWN), _K), []
    for ads in sizes:
        with tempfile.TemporaryDirectory(prefix="skim-loadtest-") as folder:
            home = Path(folder)
            started = time.perf_counter()
            publish(home / "bundles", ads, None, other=False)
            row: Figures = {"published_seconds": round(time.perf_counter() - started, 1)}
            alone = Alone(current(home / "bundles"))
            alone.ask(DEFAULT)
            row = alone.figures(DEFAULT) | row
            started = time.perf_counter()
            with running("inference", home, environment=_UNCACHED, start_seconds=300) as address:
                row["cold_start_seconds"] = round(time.perf_counter() - started, 2)
                closed_loop.run(address, requests, connections=1, seconds=_WARM_UP_SECONDS)
                load = closed_loop.run(address, requests, connections=1, seconds=seconds)
                row |= {
                    "c1_p50_ms": _percentile(load.latencies_ms, 50),
                    "c1_p99_ms": _percentile(load.latencies_ms, 99),
                    "errors": load.errors,
                    "rss_mb": rss_mb(address),
                }
            rows.append(row)
    return rows


def publish(bundles: Path, ads: int, bundle: Path | None, *, other: bool = True) -> None:
    """Make a bundle current in `bundles`, and one like it that can be switched to (`other`)."""
    if bundle is not None:
        version = open_bundle(bundle).manifest.version
        shutil.copytree(bundle, bundles / version)
        activate(bundles, version)
        return
    folder = CommonSettings().models / "encoder"
    encoder = SentenceEncoder(folder, threads=0)
    asked = encoder.encode(list(DEFAULT))
    written = write_bundle(
        bundles,
        encoder=folder,
        ads=[
            Document(
                id=f"ad-{number}", title=f"Thing {number}", metadata={"price": number % 1_000}
            )
            for number in range(ads)
        ],
        vectors=_vectors(encoder, ads),
        counts=Counts(ads=ads, train_queries=0, clicks=0, labels=0),
        asked=asked,
        version="first",
    )
    activate(bundles, "first")
    if other:
        shutil.copytree(written, bundles / "second")
        manifest = bundles / "second" / "manifest.json"
        manifest.write_text(
            manifest.read_text().replace('"version": "first"', '"version": "second"')
        )


class Alone:
    """What encoder and search take in this process, one query at a time, and how exact search is.

    Args:
        folder: of the bundle.
    """

    def __init__(self, folder: Path) -> None:
        self._generation = open_generation(folder)
        self._exact = flat_index(read_vectors(folder))
        self._encode_ms: list[float] = []
        self._search_ms: list[float] = []
        self._vectors: list[NDArray[np.float32]] = []

    def ask(self, queries: Sequence[str]) -> None:
        """Encode and search each."""
        for query in queries:
            started = time.perf_counter()
            vector = self._generation.encoder.encode([query])
            encoded = time.perf_counter()
            self._generation.base.index.search(vector, _K)
            self._encode_ms.append((encoded - started) * 1000)
            self._search_ms.append((time.perf_counter() - encoded) * 1000)
            self._vectors.append(vector)

    def figures(self, queries: Sequence[str]) -> Figures:
        """Return what was seen, and how many of these queries a second are answered without a service."""
        index = self._generation.base.index
        return {
            "ads": len(self._generation.base.rows),
            "index": index.card.kind,
            "ef": index.card.ef,
            "recall_at_10": round(
                recall_of(index, self._exact, np.concatenate(self._vectors), _K), 4
            ),
            "encode_p50_ms": _percentile(self._encode_ms, 50),
            "search_p50_ms": _percentile(self._search_ms, 50),
            "alone_rps": _rate(self._generation, queries, threads=1),
            "alone_all_cores_rps": _rate(self._generation, queries, threads=os.cpu_count() or 1),
        }


def _rate(generation: Generation, queries: Sequence[str], *, threads: int) -> float:
    """Return how many queries a second encoder and search answer in this process: no service can do more."""
    ends = time.perf_counter() + _ALONE_SECONDS

    def _work(_: int) -> int:
        for number, query in enumerate(cycle(queries)):
            if time.perf_counter() >= ends:
                return number
            generation.base.index.search(generation.encoder.encode([query]), _K)
        raise AssertionError("queries come round")

    with ThreadPoolExecutor(threads) as pool:
        return round(sum(pool.map(_work, range(threads))) / _ALONE_SECONDS, 1)


def _vectors(encoder: SentenceEncoder, ads: int) -> np.ndarray:
    documents = CommonSettings().data / "things" / "documents.jsonl"
    if not documents.exists():
        return clustered(ads, encoder.dimensions, clusters=_CLUSTERS)
    titles = [each.title for each in islice(read_documents(documents), _REAL_TITLES)]
    return interpolated(encoder.encode(titles), ads)


def _requests(queries: Sequence[str], k: int) -> list[bytes]:
    return [closed_loop.get_request("127.0.0.1", "/v1/ads", query=query, k=k) for query in queries]


@dataclass
class _Loads:
    """What one and sixteen connections saw, and twice what sixteen could, in turns."""

    one: list[float] = field(default_factory=list)
    hundred: list[float] = field(default_factory=list)
    sixteen: list[float] = field(default_factory=list)
    overload: list[float] = field(default_factory=list)
    refusals: list[float] = field(default_factory=list)
    """Milliseconds, as the others."""
    peak_seconds: float = 0.0
    goodput: list[float] = field(default_factory=list)
    """Of each overload, answers a second."""
    errors: int = 0
    overload_errors: int = 0

    def take_turn(
        self, address: Address, requests: Sequence[bytes], many: Sequence[bytes], seconds: float
    ) -> None:
        """Load the service for `seconds` each way."""
        one, hundred, sixteen = (
            closed_loop.run(address, asked, connections=connections, seconds=seconds)
            for asked, connections in ((requests, 1), (many, 1), (requests, 16))
        )
        rate = 2 * sixteen.requests_per_second
        twice = open_loop.run(address, requests, per_second=rate, seconds=seconds)
        self.one += one.latencies_ms
        self.hundred += hundred.latencies_ms
        self.sixteen += sixteen.latencies_ms
        self.overload += twice.latencies_ms
        self.refusals += twice.refusals_ms
        self.peak_seconds += sixteen.seconds
        self.goodput.append(twice.goodput)
        self.errors += one.errors + hundred.errors + sixteen.errors
        self.overload_errors += twice.errors

    def figures(self) -> Figures:
        """Return what was seen in all turns."""
        peak = len(self.sixteen) / self.peak_seconds
        return {
            "c1_p50_ms": _percentile(self.one, 50),
            "c1_p99_ms": _percentile(self.one, 99),
            "c1_k100_p50_ms": _percentile(self.hundred, 50),
            "c16_rps": round(peak, 1),
            "c16_p50_ms": _percentile(self.sixteen, 50),
            "c16_p99_ms": _percentile(self.sixteen, 99),
            "errors": self.errors,
            "overload_goodput": round(float(np.mean(self.goodput)) / peak, 3),
            "overload_p99_ms": _percentile(self.overload, 99),
            "reject_ms_p50": _percentile(self.refusals, 50),
            "reject_ms_p99": _percentile(self.refusals, 99),
            "overload_errors": self.overload_errors,
        }


def _open(
    address: Address, requests: Sequence[bytes], seconds: float, name: str, per_second: float
) -> Figures:
    load = open_loop.run(address, requests, per_second=per_second, seconds=seconds)
    return {
        f"{name}_per_second": round(per_second, 1),
        f"{name}_p50_ms": _percentile(load.latencies_ms, 50),
        f"{name}_p99_ms": _percentile(load.latencies_ms, 99),
        f"{name}_errors": load.errors + len(load.refusals_ms),
    }


def _swap(address: Address, requests: Sequence[bytes], seconds: float) -> Figures:
    """Switch bundles and add ads under load, and compare with the same load without either, twice in turn."""
    quiet_ms: list[float] = []
    busy_ms: list[float] = []
    switched: list[float] = []
    failures, each = 0, seconds / 2 / _SWAP_TURNS
    for turn in range(_SWAP_TURNS):
        quiet = open_loop.run(
            address, requests, per_second=_SWAP_RATE, seconds=each, seed=2 * turn
        )
        worker = threading.Thread(target=_change_all, args=(address, switched))
        busy = open_loop.run(
            address,
            requests,
            per_second=_SWAP_RATE,
            seconds=each,
            seed=2 * turn + 1,
            halfway=worker.start,
        )
        worker.join()
        quiet_ms += quiet.latencies_ms
        busy_ms += busy.latencies_ms
        failures += busy.errors + len(busy.refusals_ms)
    before, after = (_percentile(seen, 99) for seen in (quiet_ms, busy_ms))
    return {
        "swap_failures": failures,
        "swap_p99_ms": after,
        "swap_p99_ratio": round(after / before, 2) if before and after else None,
        "swap_seconds": round(max(switched), 2) if switched else None,
    }


def _change_all(address: Address, switched: list[float]) -> None:
    with httpx.Client(base_url=f"http://{address[0]}:{address[1]}", timeout=60.0) as client:
        client.put("/v1/ads", json=[{"id": "new", "title": "a new thing"}]).raise_for_status()
        other = next(
            (
                each
                for each in client.get("/v1/bundles").json()["bundles"]
                if not each["is_served"]
            ),
            None,
        )
        started = time.perf_counter()
        path = f"/v1/bundles/{other['version']}:activate" if other else "/v1/bundles:reload"
        client.post(path).raise_for_status()
        switched.append(time.perf_counter() - started)
        client.delete("/v1/ads/new").raise_for_status()


def rss_mb(address: Address) -> int | None:
    """Return the resident memory of the process that listens there, on Linux."""
    inodes = {
        line.split()[9]
        for line in Path("/proc/net/tcp").read_text().splitlines()[1:]
        if line.split()[1].endswith(f":{address[1]:04X}") and line.split()[3] == "0A"
    }
    for process in Path("/proc").glob("[0-9]*"):
        try:
            links = {os.readlink(each) for each in (process / "fd").iterdir()}
            if links & {f"socket:[{inode}]" for inode in inodes}:
                pages = int((process / "statm").read_text().split()[1])
                return round(pages * os.sysconf("SC_PAGE_SIZE") / 1e6)
        except OSError:
            continue
    return None


def _grow(sizes: Sequence[int], options: argparse.Namespace) -> int:
    try:
        rows = grown(sizes, seconds=options.seconds / 8)
    except SkimError as error:
        print(f"loadtests.inference: {error}", file=sys.stderr)
        return 1
    print(json.dumps(rows) if options.json else results.markdown_table(rows))
    if options.save:
        arguments = " ".join(str(size) for size in sizes)
        results.save(
            "inference-growth",
            rows,
            command=f"python -m loadtests.inference --growth {arguments} --json",
        )
    return int(any(row["errors"] for row in rows))


def _percentile(milliseconds: Sequence[float], percent: float) -> float | None:
    return round(float(np.percentile(milliseconds, percent)), 3) if milliseconds else None


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m loadtests.inference", description=__doc__)
    parser.add_argument("--json", action="store_true", help="print one line of JSON")
    parser.add_argument(
        "--save", action="store_true", help="keep the figures in loadtests/results"
    )
    parser.add_argument(
        "--growth",
        type=int,
        nargs="+",
        metavar="ADS",
        help="measure catalogues of these sizes instead: 10000 100000 1000000",
    )
    parser.add_argument("--seconds", type=float, default=60.0, help="of load in all")
    parser.add_argument("--ads", type=int, default=ADS, help="how many, without a bundle")
    parser.add_argument(
        "--bundle", type=Path, help="folder of a published bundle to serve instead"
    )
    return parser.parse_args(arguments)


if __name__ == "__main__":
    raise SystemExit(main())
