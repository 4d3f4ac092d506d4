"""How fast are top ads? `python -m loadtests.inference --json [--save] [--seconds 40] [--ads 100000] [--bundle FOLDER] [--growth ADS ...]`.

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
from itertools import cycle, islice
from pathlib import Path

import httpx
import numpy as np

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

    Args:
        ads: how many, where no bundle is given.
        seconds: of load, a ninth for each part.
        bundle: a published bundle to serve instead.
    """
    queries = ZipfMix(DEFAULT).draw(_QUERIES_DRAWN)
    part = seconds / 9
    with tempfile.TemporaryDirectory(prefix="skim-loadtest-") as folder:
        home = Path(folder)
        publish(home / "bundles", ads, bundle)
        figures = alone(current(home / "bundles"), queries[:_ENCODED_ALONE])
        requests, many = (_requests(queries, k) for k in (_K, _MANY))
        started = time.perf_counter()
        with running("inference", home, environment=_UNCACHED) as address:
            figures["cold_start_seconds"] = round(time.perf_counter() - started, 2)
            closed_loop.run(address, requests, connections=16, seconds=_WARM_UP_SECONDS)
            figures |= _closed(address, requests, many, part)
            figures |= _open(address, requests, part, "open", _OPEN_RATE)
            half = float(figures["c16_rps"] or 1) / 2
            figures |= _open(address, requests, part, "open_half", half)
            figures |= _overload(address, requests, part, float(figures["c16_rps"] or 1))
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
            row = alone(current(home / "bundles"), list(DEFAULT)) | row
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


def alone(folder: Path, queries: Sequence[str]) -> Figures:
    """Return what encoder and search take in this process, one query at a time, and how exact search is."""
    generation = open_generation(folder)
    index, exact = generation.base.index, flat_index(read_vectors(folder))
    encode_ms, search_ms, vectors = [], [], []
    for query in queries:
        started = time.perf_counter()
        vector = generation.encoder.encode([query])
        encoded = time.perf_counter()
        index.search(vector, _K)
        encode_ms.append((encoded - started) * 1000)
        search_ms.append((time.perf_counter() - encoded) * 1000)
        vectors.append(vector)
    return {
        "ads": len(generation.base.rows),
        "index": index.card.kind,
        "ef": index.card.ef,
        "recall_at_10": round(recall_of(index, exact, np.concatenate(vectors), _K), 4),
        "encode_p50_ms": _percentile(encode_ms, 50),
        "search_p50_ms": _percentile(search_ms, 50),
        "alone_rps": _rate(generation, queries, threads=1),
        "alone_all_cores_rps": _rate(generation, queries, threads=os.cpu_count() or 1),
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


def _closed(
    address: Address, requests: Sequence[bytes], many: Sequence[bytes], seconds: float
) -> Figures:
    one = closed_loop.run(address, requests, connections=1, seconds=seconds)
    hundred = closed_loop.run(address, many, connections=1, seconds=seconds)
    sixteen = closed_loop.run(address, requests, connections=16, seconds=seconds)
    return {
        "c1_p50_ms": _percentile(one.latencies_ms, 50),
        "c1_p99_ms": _percentile(one.latencies_ms, 99),
        "c1_k100_p50_ms": _percentile(hundred.latencies_ms, 50),
        "c16_rps": round(sixteen.requests_per_second, 1),
        "c16_p50_ms": _percentile(sixteen.latencies_ms, 50),
        "c16_p99_ms": _percentile(sixteen.latencies_ms, 99),
        "errors": one.errors + hundred.errors + sixteen.errors,
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


def _overload(address: Address, requests: Sequence[bytes], seconds: float, peak: float) -> Figures:
    load = open_loop.run(address, requests, per_second=2 * peak, seconds=seconds)
    return {
        "overload_goodput": round(load.goodput / peak, 3),
        "overload_p99_ms": _percentile(load.latencies_ms, 99),
        "reject_ms_p50": _percentile(load.refusals_ms, 50),
        "reject_ms_p99": _percentile(load.refusals_ms, 99),
        "overload_errors": load.errors,
    }


def _swap(address: Address, requests: Sequence[bytes], seconds: float) -> Figures:
    """Switch bundles and add ads under load, and compare with the same load without either."""
    quiet = open_loop.run(address, requests, per_second=_SWAP_RATE, seconds=seconds / 2)
    switched: list[float] = []
    worker = threading.Thread(target=_change_all, args=(address, switched))
    busy = open_loop.run(
        address, requests, per_second=_SWAP_RATE, seconds=seconds / 2, seed=1, halfway=worker.start
    )
    worker.join()
    before, after = (_percentile(load.latencies_ms, 99) for load in (quiet, busy))
    return {
        "swap_failures": busy.errors + len(busy.refusals_ms),
        "swap_p99_ms": after,
        "swap_p99_ratio": round(after / before, 2) if before and after else None,
        "swap_seconds": round(switched[0], 2) if switched else None,
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
    parser.add_argument("--seconds", type=float, default=40.0, help="of load in all")
    parser.add_argument("--ads", type=int, default=ADS, help="how many, without a bundle")
    parser.add_argument(
        "--bundle", type=Path, help="folder of a published bundle to serve instead"
    )
    return parser.parse_args(arguments)


if __name__ == "__main__":
    raise SystemExit(main())
