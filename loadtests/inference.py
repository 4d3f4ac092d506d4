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
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import cycle, islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from loadtests import closed_loop, results
from loadtests.inference_loads import Figures, Loads, open_at, percentile, swap
from loadtests.queries import DEFAULT, ZipfMix
from loadtests.service import started
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
_OPEN_RATE = 400.0
_TURNS = 4
_UNCACHED = {"SKIM_INFERENCE_CACHE_BYTES": "0"}


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
    part, loads = seconds / 9, Loads()
    with tempfile.TemporaryDirectory(prefix="skim-loadtest-") as folder:
        home = Path(folder)
        publish(home / "bundles", ads, bundle)
        alone = Alone(current(home / "bundles"))
        begun = time.perf_counter()
        with started("inference", home, environment=_UNCACHED) as service:
            address = service.address
            cold_start = time.perf_counter() - begun
            closed_loop.run(address, requests, connections=16, seconds=_WARM_UP_SECONDS)
            for _ in range(_TURNS):
                alone.ask(queries[: _ENCODED_ALONE // _TURNS])
                loads.take_turn(address, requests, many, part / _TURNS)
            figures = alone.figures(queries[:_ENCODED_ALONE]) | loads.figures()
            figures["cold_start_seconds"] = round(cold_start, 2)
            figures |= open_at(address, requests, part, "open", _OPEN_RATE)
            half = float(figures["c16_rps"] or 1) / 2
            figures |= open_at(address, requests, part, "open_half", half)
            figures |= swap(address, requests, 2 * part)
            figures["rss_mb"] = round(service.resident_bytes() / 1e6)
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
            begun = time.perf_counter()
            publish(home / "bundles", ads, None, other=False)
            row: Figures = {"published_seconds": round(time.perf_counter() - begun, 1)}
            alone = Alone(current(home / "bundles"))
            alone.ask(DEFAULT)
            row = alone.figures(DEFAULT) | row
            begun = time.perf_counter()
            with started("inference", home, environment=_UNCACHED, start_seconds=300) as service:
                address = service.address
                row["cold_start_seconds"] = round(time.perf_counter() - begun, 2)
                closed_loop.run(address, requests, connections=1, seconds=_WARM_UP_SECONDS)
                load = closed_loop.run(address, requests, connections=1, seconds=seconds)
                row |= {
                    "c1_p50_ms": percentile(load.latencies_ms, 50),
                    "c1_p99_ms": percentile(load.latencies_ms, 99),
                    "errors": load.errors,
                    "rss_mb": round(service.resident_bytes() / 1e6),
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
            "width": index.card.ef or index.card.nprobe,
            "recall_at_10": round(
                recall_of(index, self._exact, np.concatenate(self._vectors), _K), 4
            ),
            "encode_p50_ms": percentile(self._encode_ms, 50),
            "search_p50_ms": percentile(self._search_ms, 50),
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
