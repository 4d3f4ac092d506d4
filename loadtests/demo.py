"""Run the demo and keep its table: `python -m loadtests.demo --save`."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from typing import Any

from loadtests.results import Value, save

_DOCUMENTS_AS = {"title_only": "titles only", "full": "titles + metadata"}
_TRAINED = {
    "clicks": "clicks",
    "skim": "clicks + labels",
    "skim_and_unmapped": "clicks + labels + synthetic queries",
}
_LEARNED = {
    "title_only": {"zero_shot_title": "nothing", **_TRAINED},
    "full": {"zero_shot_metadata": "nothing", **_TRAINED},
}


def main() -> None:
    """Run `skim demo --json`, print its table as rows, and save them if told to."""
    finished = subprocess.run(
        [sys.executable, "-m", "services.cli", "demo", "--json"],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    table = rows_of(json.loads(finished.stdout.strip().splitlines()[-1]))
    if "--save" in sys.argv:
        save("demo", table, command="python -m loadtests.demo --save")
    print(json.dumps(table))


def rows_of(facts: Mapping[str, Any]) -> list[dict[str, Value]]:
    """Return a row for each split and arm, in percent; gains are of recall@100 over clicks only."""
    rows: list[dict[str, Value]] = []
    for split in ("new_wordings", "new_intents"):
        for section, documents_as in _DOCUMENTS_AS.items():
            for arm, learned in _LEARNED[section].items():
                row = facts[split][section][arm]
                rows.append(
                    {
                        "split": split.replace("_", " "),
                        "documents as": documents_as,
                        "trained on": learned,
                        "recall@10": round(100 * row["recall_at_10"], 1),
                        "recall@100": round(100 * row["recall_at_100"], 1),
                        "gain of recall@100 over clicks": (
                            _interval(row) if arm.startswith("skim") else None
                        ),
                    }
                )
    return rows


def _interval(row: Mapping[str, float]) -> str:
    value, low, high = (100 * row[f"gain_recall_at_100{bound}"] for bound in ("", "_low", "_high"))
    return f"{value:+.1f} [{low:+.1f}, {high:+.1f}]"


if __name__ == "__main__":
    main()
