"""What do events and exploration cost? `python -m loadtests.events --json [--save] [--seconds 40]`.

Three services over the same ads, one each with another share of drawn places, are asked in turns over raw keep-alive
sockets, so that what the machine does meanwhile meets all of them. Then events are posted, alone and beside queries. `fsync_p50_ms` is the
disk alone in the same run; the folder is `--folder`, else where temporary files are.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import threading
import time
import tracemalloc
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from datetime import UTC, datetime
from multiprocessing import get_context
from multiprocessing.sharedctypes import Synchronized
from multiprocessing.synchronize import Event
from pathlib import Path

import numpy as np
import orjson

from loadtests import closed_loop, results
from loadtests.queries import DEFAULT, ZipfMix
from loadtests.service import HOST, running
from loadtests.vectors import clustered
from services.inference.event_log import EventLog
from services.inference.exploration import Explorer, Slots
from services.training.event_counts import EventCounts
from shared.bundle import Counts, activate, write_bundle
from shared.contracts.document import Document
from shared.encoder import SentenceEncoder
from shared.errors import SkimError
from shared.events.files import days_of, read_day
from shared.events.privacy import make_key
from shared.events.record import StoredEvent, stamp
from shared.settings import CommonSettings

_ADS, _K, _QUERIES_DRAWN = 14_000, 10, 2_000
_SHARES = {"off": 0.0, "1_percent": 0.01, "10_percent": 0.1}
_TURNS = 20
_EVENTS_A_POST = 10
_COUNTED = 200_000
_WARM_UP_SECONDS = 1.0

Figures = dict[str, str | int | float | None]


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print, and save where asked; 1 if an error of ours stopped it or a request failed."""
    options = _options(arguments)
    try:
        figures = measure(options.seconds, options.folder)
    except SkimError as error:
        print(f"loadtests.events: {error}", file=sys.stderr)
        return 1
    print(json.dumps(figures) if options.json else results.markdown_table(figures))
    if options.save:
        results.save("events", figures)
    return int(bool(figures["errors"]))


def measure(seconds: float, folder: Path | None = None) -> Figures:
    """Return the figures of one run.

    Args:
        seconds: of load in all.
        folder: on the disk to measure; made if it is not there.
    """
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="skim-loadtest-", dir=folder) as scratch:
        home = Path(scratch)
        return (
            _in_process(home)
            | _drawing(home / "alone")
            | _over_http(home, seconds)
            | _counting(home / "counted")
            | {"ads": _ADS, "events_a_post": _EVENTS_A_POST}
        )


def _in_process(home: Path) -> Figures:
    """Return what an append costs beside a bare sync of as many bytes, one caller at a time and 16 at once."""
    log = EventLog(home / "alone")
    event = _event(0)
    batch = [event] * _EVENTS_A_POST
    alone: list[float] = []
    synced: list[float] = []
    with (home / "bare").open("ab") as bare:

        def _sync() -> None:
            bare.write(b"x" * 2_800)
            bare.flush()
            os.fsync(bare.fileno())

        for _ in range(300):  # in turns: a disk's pace changes from one second to the next
            alone += _timed(lambda: log.append(batch).result(), 1)
            synced += _timed(_sync, 1)
    many = _together(lambda: log.append(batch).result(), callers=16, times=100)
    log.close()
    return {
        "fsync_p50_ms": _percentile(synced, 50),
        "append_p50_ms": _percentile(alone, 50),
        "append_p99_ms": _percentile(alone, 99),
        "append_events_per_second": round(16 * 100 * _EVENTS_A_POST / many),
    }


def _drawing(folder: Path) -> Figures:
    """Return what exploration does to an answer: say that no place is drawn, or draw one and seal it."""
    explorer, slots = Explorer(0.01, seed=0), Slots(make_key(folder))
    ranked = [(f"ad-{number}", 0.0) for number in range(_K)]

    def _draw() -> None:
        slate = explorer.fill(
            ranked,
            _K,
            [3],
            population=_ADS,
            at=lambda numbers: [(f"ad-{number}", 0.0) for number in numbers],
            id_of=lambda ad: ad[0],
        )
        slots.seal("0" * 32, "fishing boat", slate.ads[3][0], 4, slate.propensity)

    return {
        "no_place_drawn_p50_us": _microseconds(_timed(lambda: explorer.places(_K), 5_000)),
        "place_drawn_p50_us": _microseconds(_timed(_draw, 5_000)),
    }


def _over_http(home: Path, seconds: float) -> Figures:
    encoder = CommonSettings().models / "encoder"
    for name in _SHARES:  # a home each: one process owns the ads of a home
        _publish(home / name / "bundles", encoder)
    gets = [
        closed_loop.get_request(HOST, "/v1/ads", query=query, k=_K)
        for query in ZipfMix(DEFAULT).draw(_QUERIES_DRAWN)
    ]
    posts = [_post(number) for number in range(200)]
    turn_seconds, part = 0.7 * seconds / (len(_SHARES) * _TURNS), 0.3 * seconds / 4
    latencies: dict[str, list[float]] = {name: [] for name in _SHARES}
    errors = 0
    with ExitStack() as stack:
        addresses = {
            name: stack.enter_context(
                running("inference", home / name, environment=_environment(share))
            )
            for name, share in _SHARES.items()
        }
        for address in addresses.values():
            closed_loop.run(address, gets, connections=4, seconds=_WARM_UP_SECONDS)
        for turn in range(_TURNS):
            names = list(_SHARES) if turn % 2 == 0 else list(reversed(_SHARES))
            for name in names:
                load = closed_loop.run(addresses[name], gets, connections=1, seconds=turn_seconds)
                latencies[name] += load.latencies_ms
                errors += load.errors
        address = addresses["off"]
        one = closed_loop.run(address, posts, connections=1, seconds=part)
        many = closed_loop.run(address, posts, connections=16, seconds=part)
        beside, paced_errors = _beside(address, gets, posts, 2 * part)
        errors += one.errors + many.errors + beside.errors + paced_errors
    figures: Figures = {
        f"get_{percent}_explore_{name}_ms": _percentile(of_name, float(percent[1:]))
        for name, of_name in latencies.items()
        for percent in ("p50", "p99")
    }
    return figures | {
        "get_p50_beside_100_posts_a_second_ms": _percentile(beside.latencies_ms, 50),
        "get_p99_beside_100_posts_a_second_ms": _percentile(beside.latencies_ms, 99),
        "post_c1_p50_ms": _percentile(one.latencies_ms, 50),
        "post_c1_p99_ms": _percentile(one.latencies_ms, 99),
        "post_c16_events_per_second": round(many.requests_per_second * _EVENTS_A_POST),
        "post_c16_p99_ms": _percentile(many.latencies_ms, 99),
        "errors": errors,
    }


def _environment(share: float) -> dict[str, str]:
    return {
        "SKIM_INFERENCE_CACHE_BYTES": "0",  # else a repeated query costs nothing but where a place is drawn
        "SKIM_INFERENCE_EXPLORE_SHARE": str(share),
        "SKIM_INFERENCE_EXPLORE_SEED": "0",
    }


def _beside(
    address: tuple[str, int], gets: Sequence[bytes], posts: Sequence[bytes], seconds: float
) -> tuple[closed_loop.Load, int]:
    """Ask queries on one connection while a process posts 1,000 events a second; return that load, and the posts' errors."""
    context = get_context("spawn")
    is_over, errors = context.Event(), context.Value("i", 0)
    process = context.Process(target=_pace, args=(address, posts, is_over, errors))
    process.start()
    load = closed_loop.run(address, gets, connections=1, seconds=seconds)
    is_over.set()
    process.join()
    return load, int(errors.value)


def _pace(
    address: tuple[str, int], posts: Sequence[bytes], is_over: Event, errors: Synchronized[int]
) -> None:
    number = 0
    while not is_over.wait(0.1):
        load = closed_loop.run(address, posts[number : number + 10], connections=10, seconds=0)
        errors.value += load.errors
        number = (number + 10) % len(posts)


def _counting(folder: Path) -> Figures:
    """Return how fast event files become counts, and how much memory a day's events take."""
    log = EventLog(folder)
    queries = ZipfMix(DEFAULT).draw(_COUNTED)
    events = [_event(number, queries[number]) for number in range(_COUNTED)]
    log.append(events).result()
    log.close()
    size = sum(path.stat().st_size for path in folder.iterdir())
    started = time.perf_counter()
    counts = _count(folder)
    seconds = time.perf_counter() - started
    tracemalloc.start()
    _count(folder)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return {
        "counted_events_per_second": round(counts.events / seconds),
        "bytes_per_event": round(size / _COUNTED),
        "memory_bytes_per_event_of_a_day": round(peak / _COUNTED),
    }


def _count(folder: Path) -> EventCounts:
    counts = EventCounts()
    for day in days_of(folder):
        counts.add_day(read_day(folder, day).events)
    return counts


def _publish(bundles: Path, encoder: Path) -> None:
    ads = [Document(id=f"ad-{number}", title=f"Thing {number}") for number in range(_ADS)]
    dimensions = SentenceEncoder(encoder).dimensions
    written = write_bundle(
        bundles,
        encoder=encoder,
        ads=ads,
        vectors=clustered(_ADS, dimensions, clusters=500),
        counts=Counts(ads=_ADS, train_queries=0, clicks=0, labels=0),
    )
    activate(bundles, written.name)


def _event(number: int, query: str = "fishing boat") -> StoredEvent:
    return StoredEvent(
        time=stamp(datetime.now(UTC)),
        kind="click" if number % 10 == 0 else "impression",
        id=f"{number:032x}",
        query=query,
        ad=f"ad-{number % _ADS}",
        position=1 + number % _K,
        generation="20261125T120000-0123abcd",
        request=f"{number // _K:032x}",
        client=f"{number // 100:016x}",
    )


def _post(number: int) -> bytes:
    events = [_event(_EVENTS_A_POST * number + place) for place in range(_EVENTS_A_POST)]
    rows = [
        {name: value for name, value in event._asdict().items() if name != "propensity"}
        for event in events
    ]
    body = orjson.dumps(rows)
    head = f"POST /v1/events HTTP/1.1\r\nHost: {HOST}\r\nContent-Type: application/json\r\n"
    return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body


def _timed(call: Callable[[], object], times: int) -> list[float]:
    """Return the milliseconds of each call."""
    taken = []
    for _ in range(times):
        started = time.perf_counter()
        call()
        taken.append((time.perf_counter() - started) * 1000)
    return taken


def _together(call: Callable[[], object], *, callers: int, times: int) -> float:
    """Return the seconds that all callers' calls take."""
    threads = [
        threading.Thread(target=lambda: [call() for _ in range(times)]) for _ in range(callers)
    ]
    started = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return time.perf_counter() - started


def _microseconds(milliseconds: Sequence[float]) -> float:
    return round(1000 * float(np.median(milliseconds)), 2)


def _percentile(milliseconds: Sequence[float], percent: float) -> float | None:
    return round(float(np.percentile(milliseconds, percent)), 3) if milliseconds else None


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m loadtests.events", description=__doc__)
    parser.add_argument("--json", action="store_true", help="print one line of JSON")
    parser.add_argument(
        "--save", action="store_true", help="keep the figures in loadtests/results"
    )
    parser.add_argument("--seconds", type=float, default=40.0, help="of load in all")
    parser.add_argument("--folder", type=Path, help="on the disk to measure")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    raise SystemExit(main())
