"""SKIM and its rivals on a data folder, saved as a table: `python -m loadtests.evaluation --data FOLDER --save`.

The figures are those of `skim evaluate FOLDER --json`; arms that were trained before come from its cache.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from loadtests.results import Row, save

_MAPPING_GAINS = {
    "skim - skim_preset": "clicks + labels",
    "skim_and_unmapped - skim_preset_and_unmapped": "clicks + labels + synthetic queries",
}
_ROUNDING = 1e-9
"""How far an interval of no difference may be from it: sums of another order."""
_DOCUMENTS_AS = {"title_only": "titles only", "full": "titles + metadata"}


def main() -> None:
    """Evaluate, print the figures, save the tables if told to."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="data folder with truth")
    parser.add_argument("--shown", help="K of simulated logs; the folder's own if absent")
    parser.add_argument("--arms", help="only these, by commas, and no exposure curve")
    parser.add_argument("--kinds", help="models, by commas; classifiers if absent")
    parser.add_argument("--towers", help="title, metadata or both, by a comma; both if absent")
    parser.add_argument("--splits", help="only these, by commas; all if absent")
    parser.add_argument("--name", help="what to save as; the folder's name if absent")
    parser.add_argument("--save", action="store_true")
    options = parser.parse_args()
    more = [
        part
        for name in ("shown", "arms", "kinds", "towers", "splits")
        if (value := getattr(options, name))
        for part in (f"--{name}", value)
    ]
    finished = subprocess.run(  # noqa: S603
        [sys.executable, "-m", "services.cli", "evaluate", str(options.data), "--json", *more],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    figures = json.loads(finished.stdout.strip().splitlines()[-1])
    if options.save:
        name = options.name or options.data.name
        command = f"python -m loadtests.evaluation --data {options.data.name} --save"
        named = ["--name", options.name] if options.name else []
        command = " ".join([command, *more, *named])
        save(f"evaluation-{name}", arms(figures), command=command)
        if not options.arms:
            save(f"exposure-{name}", exposure(figures), command=command)
        if mappings := mapping_gains(figures):
            save(f"mapping-gains-{name}", mappings, command=command)
    print(json.dumps(figures))


def arms(figures: Mapping[str, Any]) -> list[Row]:
    """Return a row for each split, tower and arm, in percent; the gain is of recall@100 over clicks."""
    return [
        {
            "split": split.replace("_", " "),
            "documents as": documents_as,
            "arm": arm,
            "recall@10": _percent(row["recall_at_10"]),
            "recall@25": _percent(row["recall_at_25"]),
            "recall@100": _percent(row["recall_at_100"]),
            "gain over clicks": _gain(row),
        }
        for split, sections in figures.items()
        if isinstance(sections, dict) and "title_only" in sections
        for section, documents_as in _DOCUMENTS_AS.items()
        for arm, row in sections.get(section, {}).items()
    ]


def mapping_gains(figures: Mapping[str, Any]) -> list[Row]:
    """Return a row for each split, tower and way of training: what calibrated labels gain over the preset's."""
    return [
        {
            "split": split.replace("_", " "),
            "documents as": documents_as,
            "trained on": trained_on,
            **{
                f"recall@{k}": _interval(differences[gain], f"recall_at_{k}")
                for k in (10, 25, 100)
            },
        }
        for split, sections in figures.items()
        if isinstance(sections, dict) and "gains" in sections
        for section, documents_as in _DOCUMENTS_AS.items()
        for gain, trained_on in _MAPPING_GAINS.items()
        if gain in (differences := sections["gains"].get(section, {}))
    ]


def exposure(figures: Mapping[str, Any]) -> list[Row]:
    """Return a row for each split and K: recall@100 of each arm, titles only, in percent."""
    return [
        {
            "split": split.replace("_", " "),
            "K": shown,
            **{arm: _percent(row["recall_at_100"]) for arm, row in sections["title_only"].items()},
        }
        for shown, splits in figures["exposure"].items()
        for split, sections in splits.items()
    ]


def _percent(share: float) -> float:
    return round(100 * share, 1)


def _gain(row: Mapping[str, float]) -> str | None:
    bounds = [row.get(f"gain_recall_at_100{bound}") for bound in ("", "_low", "_high")]
    known = [bound for bound in bounds if bound is not None]
    if len(known) < len(bounds) or max(known) - min(known) < _ROUNDING:  # no rival, or its own
        return None
    return _interval(row, "gain_recall_at_100")


def _interval(row: Mapping[str, float], name: str) -> str:
    value, low, high = (100 * row[f"{name}{bound}"] for bound in ("", "_low", "_high"))
    return f"{value:+.1f} [{low:+.1f}, {high:+.1f}]"


if __name__ == "__main__":
    main()
