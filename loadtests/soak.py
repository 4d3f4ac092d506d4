"""Does it stay right? `python -m loadtests.soak --json [--save] [--minutes 30]`.

The real service answers queries while ads are put, patched and deleted and bundles are switched and rolled back, all the
time, and places of answers are drawn at random. Every answer is judged by an oracle that knows what may be returned at its
version, and how probable a drawn ad was; what was shown and clicked is posted, some of it twice, and must lie in the event files once; the
process's memory is read after a quarter of the time and at the end.
"""

from __future__ import annotations

import argparse
import itertools
import json
import random
import sys
import tempfile
import threading
import time
from collections import Counter, deque
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import httpx

from loadtests import results
from loadtests.ads_oracle import Ad, AdsOracle
from loadtests.events_oracle import EventsOracle
from loadtests.queries import DEFAULT
from loadtests.service import started
from shared.bundle import Counts, activate, write_bundle
from shared.cold_start import ColdStart
from shared.contracts.document import Document
from shared.encoder import SentenceEncoder
from shared.errors import SkimError
from shared.settings import CommonSettings

_COLORS = ("red", "green", "blue")
_ADS, _SHIFT, _IDS = 400, 100, 600
_READERS, _PAUSE_SECONDS = 2, 0.01
_SWITCH_EVERY = 60
"""Changes between two switches."""
_QUERIES_OF_AN_AD, _QUERIES_SHARE = 3, 0.65
_SHOWN = 5
_ANSWERS_AN_EVENT, _EVENTS_A_RETRY = 5, 10
_SETTINGS = {
    "SKIM_INFERENCE_RECENT_ADS": "100",
    "SKIM_INFERENCE_DEAD_POSITIONS": "300",
    "SKIM_INFERENCE_JOURNAL_BYTES": "500000",
    "SKIM_INFERENCE_EXPLORE_SHARE": "0.05",
}
"""Small, so that upkeep happens all the time; a share that leaves answers for the cache as well."""


class Soak:
    """One run against a service that is up.

    Args:
        address: of the service.
        oracle: of its bundles.
    """

    def __init__(self, address: tuple[str, int], oracle: AdsOracle) -> None:
        self._url = f"http://{address[0]}:{address[1]}"
        self.oracle = oracle
        self.events = EventsOracle()
        self.counts: Counter[str] = Counter()
        self.faults: list[str] = []
        self._answers: deque[tuple[Mapping[str, Any], int, int, str | None]] = deque()
        self._stopping = threading.Event()
        self._noting = threading.Lock()

    def run(self, seconds: float) -> Iterator[float]:
        """Work for so long; yields the share that is over, about once a second."""
        threads = [threading.Thread(target=self._read, args=(seed,)) for seed in range(_READERS)]
        threads.append(threading.Thread(target=self._write))
        for thread in threads:
            thread.start()
        started = time.monotonic()
        while (share := (time.monotonic() - started) / seconds) < 1:
            yield share
            self._judge()
            time.sleep(min(1.0, seconds / 20))
        self._stopping.set()
        for thread in threads:
            thread.join()
        self._judge()

    def _read(self, seed: int) -> None:
        chooser = random.Random(seed)
        with httpx.Client(base_url=self._url, timeout=30.0) as client:
            while not self._stopping.is_set():
                k, color = chooser.choice((1, 10, 50)), chooser.choice((None, *_COLORS))
                params: dict[str, str | int] = {
                    "query": chooser.choice(DEFAULT),
                    "k": k,
                    "fields": "color",
                }
                if color is not None:
                    params["filter"] = json.dumps({"color": color})
                with self._noting:
                    at_least = self.oracle.latest
                try:
                    answer = client.get("/v1/ads", params=params)
                except httpx.HTTPError as error:
                    self.fail(f"a query failed: {error!r}")
                    continue
                if answer.status_code == 200:
                    self._answers.append((answer.json(), k, at_least, color))
                    if chooser.randrange(_ANSWERS_AN_EVENT) == 0:
                        self._tell(client, answer.json(), chooser)
                elif answer.status_code == 503:
                    self.counts["refused"] += 1
                else:
                    self.fail(f"a query failed: {answer.text}")

    def _tell(
        self, client: httpx.Client, answer: Mapping[str, Any], chooser: random.Random
    ) -> None:
        """Post what an answer showed, now and then twice."""
        with self._noting:
            events = self.events.events_of(answer, chooser)
        for _ in range(1 + (chooser.randrange(_EVENTS_A_RETRY) == 0)):
            try:
                told = client.post("/v1/events", json=events).raise_for_status().json()
            except httpx.HTTPError as error:
                self.fail(f"events failed: {error!r}")
                return
            with self._noting:
                self.events.note(told)
            for reason in self.events.rejected(told):
                self.fail(reason)

    def _write(self) -> None:
        chooser = random.Random(99)
        with httpx.Client(base_url=self._url, timeout=60.0) as client:
            for number in itertools.count(1):
                if self._stopping.wait(_PAUSE_SECONDS):
                    return
                try:
                    if number % _SWITCH_EVERY == 0:
                        self._switch(client, chooser)
                    else:
                        self._change(client, chooser)
                except httpx.HTTPError as error:
                    self.fail(f"a change failed: {error!r}")

    def _switch(self, client: httpx.Client, chooser: random.Random) -> None:
        path = chooser.choice(
            ("/v1/bundles/a:activate", "/v1/bundles/b:activate", "/v1/bundles:rollback")
        )
        client.post(path).raise_for_status()
        self.counts["switches"] += 1

    def _change(self, client: httpx.Client, chooser: random.Random) -> None:
        ids = [f"ad-{n}" for n in chooser.sample(range(_IDS), chooser.randint(1, 5))]
        kind = chooser.choice(("put", "patch", "delete"))
        with self._noting:  # no query begins between a change's end and its being noted
            if kind == "put":
                ads = [put_ad(int(each[3:]), chooser) for each in ids]
                told = client.put("/v1/ads", json=ads)
                changes: dict[str, Ad | None] = {ad["id"]: ad for ad in ads}
            elif kind == "patch":
                color = chooser.choice(_COLORS)
                lines = [{"id": each, "metadata": {"color": color}} for each in ids]
                told = client.patch("/v1/ads", json=lines)
                generation = client.get("/v1/info").json()["generation"]
                known = self.oracle.ads(generation, self.oracle.latest)
                changes = {
                    each: {**known[each], "metadata": {"color": color}}
                    for each in ids
                    if each in known and known[each]["metadata"]["color"] != color
                }
            else:
                told = client.request("DELETE", "/v1/ads", json=ids)
                changes = dict.fromkeys(ids)
            told.raise_for_status()
            self.oracle.note(told.json()["ads_version"], changes)
        self.counts["changes"] += 1

    def _judge(self) -> None:
        with self._noting:
            waiting = [self._answers.popleft() for _ in range(len(self._answers))]
            for answer, k, at_least, color in waiting:
                fault = self.oracle.fault(answer, k, at_least=at_least, color=color)
                self.counts["answers"] += 1
                self.counts["drawn"] += sum("slot" in each for each in answer["ads"])
                if fault is not None:
                    self.fail(fault)

    def fail(self, fault: str) -> None:
        """Count something that must not be."""
        self.counts["wrong"] += 1
        if len(self.faults) < _SHOWN:
            self.faults.append(fault)


def ad_of(number: int, chooser: random.Random) -> Ad:
    """Return an ad of that number with a title and a color of chance."""
    return {
        "id": f"ad-{number}",
        "title": f"{chooser.choice(DEFAULT)} {number}",
        "metadata": {"color": chooser.choice(_COLORS)},
    }


def put_ad(number: int, chooser: random.Random) -> Ad:
    """Return such an ad as it is put, with synthetic queries or, as often, without."""
    ad = ad_of(number, chooser)
    if chooser.random() < 0.5:
        return ad
    return {**ad, "synthetic_queries": chooser.sample(DEFAULT, _QUERIES_OF_AN_AD)}


def publish(bundles: Path) -> AdsOracle:
    """Write two bundles that share most of their ads, not all with the same content; the first is current."""
    folder, chooser = CommonSettings().models / "encoder", random.Random(0)
    encoder = SentenceEncoder(folder, threads=0)
    ads = {"a": [ad_of(number, chooser) for number in range(_ADS)]}
    ads["b"] = [*ads["a"][2 * _SHIFT :], *(ad_of(n, chooser) for n in range(_SHIFT, 2 * _SHIFT))]
    ads["b"] += [ad_of(number, chooser) for number in range(_ADS, _ADS + _SHIFT)]
    for version, rows in ads.items():
        documents = [Document.model_validate(row) for row in rows]
        write_bundle(
            bundles,
            encoder=folder,
            ads=documents,
            vectors=encoder.encode([each.title for each in documents]),
            counts=Counts(ads=len(rows), train_queries=0, clicks=0, labels=0),
            cold_start=ColdStart(tower="title", queries_share=_QUERIES_SHARE),
            version=version,
        )
    activate(bundles, "b")
    activate(bundles, "a")
    return AdsOracle(ads)


def main(arguments: Sequence[str] | None = None) -> int:
    """Soak, print, and save where asked; 1 if an answer was wrong or an error of ours stopped it."""
    parser = argparse.ArgumentParser(prog="python -m loadtests.soak", description=__doc__)
    parser.add_argument("--json", action="store_true", help="print one line of JSON")
    parser.add_argument("--save", action="store_true", help="keep them in loadtests/results")
    parser.add_argument("--minutes", type=float, default=30.0)
    options = parser.parse_args(arguments)
    try:
        figures, faults = measure(options.minutes * 60)
    except SkimError as error:
        print(f"loadtests.soak: {error}", file=sys.stderr)
        return 1
    print(json.dumps(figures) if options.json else results.markdown_table(figures))
    for fault in faults:
        print(fault, file=sys.stderr)
    if options.save:
        command = f"python -m loadtests.soak --minutes {options.minutes:g} --json --save"
        results.save("soak", figures, command=command)
    return int(bool(figures["wrong"]))


def measure(seconds: float) -> tuple[dict[str, str | int | float | None], Sequence[str]]:
    """Return the figures of one run, and the first faults."""
    with tempfile.TemporaryDirectory(prefix="skim-soak-") as folder:
        home = Path(folder)
        oracle = publish(home / "bundles")
        with started("inference", home, environment=_SETTINGS) as service:
            soak, early = Soak(service.address, oracle), None
            for share in soak.run(seconds):
                if early is None and share >= 0.25:
                    early = round(service.resident_bytes() / 1e6)
            late = round(service.resident_bytes() / 1e6)
        for fault in soak.events.faults(home / "events"):
            soak.fail(fault)
        journal = (home / "ads" / "journal.bin").stat().st_size
    names = ("answers", "drawn", "wrong", "refused", "changes", "switches")
    figures: dict[str, str | int | float | None] = {name: soak.counts[name] for name in names}
    figures |= {
        "events": len(soak.events.accepted),
        "seconds": round(seconds),
        "rss_mb_after_a_quarter": early,
        "rss_mb": late,
        "journal_bytes": journal,
    }
    return figures, soak.faults


if __name__ == "__main__":
    raise SystemExit(main())
