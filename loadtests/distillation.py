"""What each way of writing queries is worth, saved as a table: `python -m loadtests.distillation --save`.

The figures are those of `skim distill evaluate things --json`; rows that were written before are judged again.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Mapping
from typing import Any

from loadtests.results import Row, save

COLUMNS = (
    "label_precision",
    "label_recall",
    "teacher_precision",
    "teacher_recall",
    "queries_per_document",
    "malformed_share",
    "duplicate_share",
    "title_share",
    "mapped_share",
)


def main() -> None:
    """Judge the rows, print the figures, save the table if told to."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--save", action="store_true")
    parser.add_argument("--rows", help="as for `skim distill evaluate`; all if absent")
    options = parser.parse_args()
    rows = ["--rows", options.rows] if options.rows else []
    finished = subprocess.run(  # noqa: S603
        [sys.executable, "-m", "services.cli", "distill", "evaluate", "things", "--json", *rows],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    figures = json.loads(finished.stdout)
    if options.save:
        save("distillation", table(figures), command="python -m loadtests.distillation --save")
    print(json.dumps(figures))


def table(figures: Mapping[str, Any]) -> list[Row]:
    """Return a line a row, and two for what the shipped student writes for pages and other languages."""
    rows: list[Row] = [
        {"row": name, **{column: row[column] for column in COLUMNS}}
        for name, row in figures["rows"].items()
    ]
    rows += [
        {"row": f"shipped, {name}", **{column: row.get(column) for column in COLUMNS}}
        for name, row in figures.get("shipped_elsewhere", {}).items()
    ]
    return rows


if __name__ == "__main__":
    main()
