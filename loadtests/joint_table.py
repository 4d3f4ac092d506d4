"""What `loadtests.joint` measured elsewhere, saved as a table here: `python -m loadtests.joint_table FILE --save`."""

from __future__ import annotations

import argparse
import json
from ast import literal_eval
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from loadtests.results import Row, save

_CUTOFFS = (10, 25, 100)
_DOCUMENTS_AS = {"title": "titles only", "metadata": "titles + metadata"}


def main() -> None:
    """Print the rows as JSON, save them if told to."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("file", type=Path, help="what `loadtests.joint --out` wrote")
    parser.add_argument("--name", default="joint", help="what to save as")
    parser.add_argument("--save", action="store_true")
    options = parser.parse_args()
    measured = json.loads(options.file.read_text(encoding="utf-8"))
    rows = table(measured["rows"])
    if options.save:
        given = [
            f"--{name} {value}"
            for name, values in measured["options"].items()
            if name in ("splits", "towers", "kinds", "arms", "measure", "grid")
            for value in ((literal_eval(values) or ()) if name == "grid" else [values])
        ]
        save(
            options.name,
            rows,
            command=f"python -m loadtests.joint --data DIR --device cuda {' '.join(given)}",
            measured_on=f"{measured['device']}, torch {measured['torch']}",
        )
    print(json.dumps({"rows": rows}))


def table(measured: Sequence[Mapping[str, Any]]) -> list[Row]:
    """Return a row for each model that was measured, in percent; gains with their intervals."""
    return [
        {
            "split": row["split"].replace("_", " "),
            "documents as": _DOCUMENTS_AS[row["tower"]],
            "model": row["kind"].replace("_", " "),
            "arm": "-" if row["kind"] == "zero_shot" else row["arm"],
            **{f"recall@{k}": row[f"recall_at_{k}"] for k in _CUTOFFS},
            "gain of recall@10 over clicks": _gain(row, "recall@10"),
            "gain of recall@100 over clicks": _gain(row, "recall@100"),
            "share of the way": _share(row),
            "seconds": row["seconds"],
        }
        for row in measured
        if "left_out" not in row
    ]


def _gain(row: Mapping[str, Any], metric: str) -> str | None:
    if "gain_over_clicks" not in row:
        return None
    value, low, high = row["gain_over_clicks"][metric]
    return f"{value:+.1f} [{low:+.1f}, {high:+.1f}]"


def _share(row: Mapping[str, Any]) -> str | None:
    shares = row.get("share_of_the_way")
    if not shares:
        return None
    return " / ".join(f"{100 * shares[f'recall@{k}']:.0f} %" for k in _CUTOFFS)


if __name__ == "__main__":
    main()
