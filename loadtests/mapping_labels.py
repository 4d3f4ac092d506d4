"""What the labels of each mapping are worth, by complete truth: `python -m loadtests.mapping_labels --data things --save`.

The figures are those of `skim mapping evaluate FOLDER --json`.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from loadtests.results import Row, save


def main() -> None:
    """Judge the mappings, print the figures, save the tables if told to."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--data", type=Path, required=True, help="data folder with truth, or things"
    )
    parser.add_argument("--name", help="what to save as; the folder's name if absent")
    parser.add_argument("--save", action="store_true")
    options = parser.parse_args()
    figures = judged(options.data)
    if options.save:
        name = options.name or options.data.name
        command = f"python -m loadtests.mapping_labels --data {options.data.name} --save"
        command += f" --name {options.name}" if options.name else ""
        save(f"mapping-labels-{name}", mappings(figures), command=command)
        save(f"mapping-sources-{name}", sources(figures), command=command)
    print(json.dumps(figures))


def judged(
    data: Path, encoders: Sequence[Path] = (), documents: int | None = None
) -> dict[str, Any]:
    """Return what `skim mapping evaluate` says of a data folder.

    Args:
        data: with complete truth.
        encoders: views; the models' own if there are none.
        documents: how many are judged; all if None.
    """
    options = [part for each in encoders for part in ("--encoder", str(each))]
    if documents is not None:
        options += ["--documents", str(documents)]
    finished = subprocess.run(  # noqa: S603
        [
            sys.executable,
            "-m",
            "services.cli",
            "mapping",
            "evaluate",
            str(data),
            "--json",
            *options,
        ],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    figures: dict[str, Any] = json.loads(finished.stdout.strip().splitlines()[-1])
    return figures


def mappings(figures: Mapping[str, Any]) -> list[Row]:
    """Return a row a mapping; shares as they are."""
    return [
        {"mapping": name, **{key.replace("_", " "): value for key, value in row.items()}}
        for name, row in figures["rows"].items()
    ]


def sources(figures: Mapping[str, Any]) -> list[Row]:
    """Return a row a source: what its calibration expected of its labels, and what came."""
    return [
        {
            "calibrated on": name,
            "known outcomes": row.get("outcomes"),
            "precision expected": row.get("expected_precision"),
            "precision": row.get("label_precision"),
            "recall": row.get("label_recall"),
            "expected and right by probability": "; ".join(
                f"{each['expected']:.2f} {each['right']:.2f}"
                for each in row.get("by_probability", [])
            )
            or row.get("left_out"),
        }
        for name, row in figures["sources"].items()
    ]


if __name__ == "__main__":
    main()
