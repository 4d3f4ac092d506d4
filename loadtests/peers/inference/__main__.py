"""Top ads beside other people's services: `python -m loadtests.peers.inference --json [--save] [--only txtai,qdrant_edge]`.

Ours and each rival serve the same ads with the same weights over HTTP, their caches off, and are asked the same
queries by the same generator in turns. Graphs are as wide as recall@10 of .99 needs; a rival is tried with each of its
settings first and compared with the best. What takes part must be installed (`python -m loadtests.peers.install --only
txtai,infinity,qdrant_edge`); bundle and indexes are made by the first run and kept in `<home>/peers/inference`.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from loadtests import closed_loop, results
from loadtests.peers.inference.catalogue import catalogue_folder, judging_queries
from loadtests.peers.inference.measuring import (
    CONNECTIONS,
    Duel,
    Seconds,
    checked_recall,
    duel,
    medians,
    trials,
)
from loadtests.peers.inference.protocol import Catalogue, K
from loadtests.peers.inference.rivals import NAMES, OURS, Contender, ours, rival
from loadtests.queries import DEFAULT, ZipfMix
from shared.errors import SkimError
from shared.settings import CommonSettings

ADS = 100_000
FASTER = 1.5
"""As many times the requests a second of the best rival ours is to have."""
_QUERIES_DRAWN = 5_000
_WARM_UP_SECONDS = 1.0

Figures = dict[str, Any]


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print, and save where told to; 1 if anyone could not be compared."""
    options = _options(arguments)
    common = CommonSettings()
    try:
        catalogue = Catalogue(catalogue_folder(common, options.ads))
        own, judged_by = ours(common, catalogue), judging_queries(common)
    except SkimError as error:
        print(f"loadtests.peers.inference: {error}", file=sys.stderr)
        return 1
    compared: dict[str, Figures] = {}
    refused: dict[str, str] = {}
    for name in options.only.split(","):
        try:
            other = rival(common, catalogue, name)
            if options.prepare:
                continue
            compared[name] = compare(
                own,
                other,
                catalogue,
                judged_by,
                turns=options.turns,
                seconds=Seconds.of_turn(options.seconds),
            )
        except SkimError as error:
            refused[name] = str(error)
            print(f"loadtests.peers.inference: {error}", file=sys.stderr)
    if options.prepare:
        return int(bool(refused))
    figures = summary(compared, refused) | {"ads": options.ads, "k": K, "turns": options.turns}
    if options.save and compared:
        command = f"python -m loadtests.peers.inference --json --only {options.only}"
        results.save("inference-rivals", table(compared), command=command)
    print(json.dumps(figures) if options.json else results.markdown_table(table(compared)))
    return int(bool(refused))


def compare(
    own: Contender,
    other: Contender,
    catalogue: Catalogue,
    judged_by: Sequence[str],
    *,
    turns: int,
    seconds: Seconds,
) -> Figures:
    """Return what ours and a rival did: recall, settings, absolute figures and ratios.

    Args:
        own: ours.
        other: the rival.
        catalogue: of both.
        judged_by: the queries by which recall is judged.
        turns: of each.
        seconds: of one turn.

    Raises:
        InvalidInput: one of them finds too little to be compared.
        Unavailable: one of them does not run.
    """
    load = os.getloadavg()[0]
    queries = ZipfMix(DEFAULT).draw(_QUERIES_DRAWN)
    tried = trials(other, queries)
    setting = max(tried, key=lambda each: tried[each]) if tried else other.settings[0]
    with own.start(own.settings[0]) as mine, other.start(setting) as theirs:
        recall = {side.name: checked_recall(side, catalogue, judged_by) for side in (mine, theirs)}
        for side in (mine, theirs):
            requests = [side.request(query) for query in queries]
            closed_loop.run(
                side.address, requests, connections=CONNECTIONS, seconds=_WARM_UP_SECONDS
            )
        found = duel(mine, theirs, queries, turns=turns, seconds=seconds)
        rss = {side.name: side.rss_mb() for side in (mine, theirs)}
    print(f"{other.name}: {found.ratio('rps')} times the requests", file=sys.stderr, flush=True)
    return {
        "ratios": {figure: found.ratio(figure) for figure in found.ours[0]},
        "slower_at": found.slower(),
        "recall_at_10": recall,
        "ef": {own.name: own.ef, other.name: other.ef},
        "setting": setting,
        "tried_rps": tried,
        "figures": _figures(own.name, other.name, found),
        "rss_mb": rss,
        "versions": {own.name: own.versions, other.name: other.versions},
        "errors": found.errors,
        "open_per_second": found.open_rate,
        "generator_cpu_ms": found.generator_ms,
        "machine_load": round(load, 1),
    }


def _figures(own: str, other: str, found: Duel) -> dict[str, dict[str, float]]:
    return {own: medians(found.ours), other: medians(found.theirs)}


def summary(compared: Mapping[str, Figures], refused: Mapping[str, str]) -> Figures:
    """Return the one object: ratios by rival, whether the bars hold, and everything they were made from.

    Args:
        compared: rival -> what `compare` found.
        refused: rival -> why it was not compared.
    """

    def _ratios(figure: str) -> dict[str, float]:
        return {name: each["ratios"][figure] for name, each in compared.items()}

    rates = _ratios("rps")
    slower = {name: each["slower_at"] for name, each in compared.items() if each["slower_at"]}
    return {
        "ratio_rps": rates,
        "ratio_p50": _ratios("c16_p50"),
        "ratio_p99": _ratios("c16_p99"),
        "ratio_c1_p50": _ratios("c1_p50"),
        "ratio_c1_p99": _ratios("c1_p99"),
        "ratio_cpu": _ratios("cpu_ms"),
        "ratio_open_p50": _ratios("open_p50"),
        "ratio_open_p99": _ratios("open_p99"),
        "ratio_rps_of_best": min(rates.values(), default=None),
        "slower_at": slower,
        "bars_hold": bool(rates)
        and not refused
        and not slower
        and min(rates.values()) >= FASTER
        and not any(each["errors"] for each in compared.values()),
        "refused": dict(refused),
        "rivals": dict(compared),
        "cpus": len(os.sched_getaffinity(0)),
    }


def table(compared: Mapping[str, Figures]) -> list[results.Row]:
    """Return a row a rival: ratios first, then what both did, and how busy the machine was before."""
    return [
        {
            "rival": name,
            "setting": each["setting"],
            "ratio_rps": each["ratios"]["rps"],
            "ratio_cpu": each["ratios"]["cpu_ms"],
            "ratio_p50": each["ratios"]["c16_p50"],
            "ratio_p99": each["ratios"]["c16_p99"],
            "ratio_c1_p50": each["ratios"]["c1_p50"],
            "ratio_c1_p99": each["ratios"]["c1_p99"],
            "ratio_open_p99": each["ratios"]["open_p99"],
            **{
                f"{side}_{figure}": each["figures"][who][figure]
                for side, who in (("our", OURS), ("its", name))
                for figure in ("rps", "cpu_ms", "c1_p50", "c16_p99")
            },
            "our_recall": each["recall_at_10"][OURS],
            "its_recall": each["recall_at_10"][name],
            "our_rss_mb": each["rss_mb"][OURS],
            "its_rss_mb": each["rss_mb"][name],
            "machine_load": each["machine_load"],
        }
        for name, each in compared.items()
    ]


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m loadtests.peers.inference", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("--json", action="store_true", help="print one line of JSON")
    parser.add_argument(
        "--save", action="store_true", help="keep the figures in loadtests/results"
    )
    parser.add_argument(
        "--prepare", action="store_true", help="make what is missing and measure nothing"
    )
    parser.add_argument("--only", default=",".join(NAMES), help="rivals, by commas")
    parser.add_argument("--ads", type=int, default=ADS)
    parser.add_argument("--turns", type=int, default=5, help="of each service")
    parser.add_argument("--seconds", type=float, default=6.0, help="of one turn")
    options = parser.parse_args(arguments)
    unknown = [name for name in options.only.split(",") if name not in NAMES]
    if unknown:
        parser.error(f"rival {unknown[0]!r} is none of {', '.join(NAMES)}")
    return options


if __name__ == "__main__":
    raise SystemExit(main())
