"""`python -m tests.chaos --json`: every row of faults, as one JSON object; `--save` keeps it for the documents."""

from __future__ import annotations

import argparse
import signal
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import orjson

from loadtests import results
from tests.chaos.rows import ROWS
from tests.chaos.run import Figures, is_green, run_rows


def main() -> int:
    """Run the rows asked for; 1 if one is not green."""
    options = _parser().parse_args()
    names = options.rows.split(",") if options.rows else _rows_of_this_machine()
    if unknown := [name for name in names if name not in ROWS]:
        sys.stderr.write(f"no such row: {', '.join(unknown)}; expected of {', '.join(ROWS)}\n")
        return 2
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that what was started is stopped
    folder = Path(options.folder or tempfile.mkdtemp(prefix="skim-chaos-"))
    rows = []
    for figures in run_rows(names, options.documents, folder):
        rows.append(figures)
        sys.stderr.write(f"{orjson.dumps(figures).decode()}\n")
    if options.json:
        sys.stdout.write(f"{orjson.dumps({'rows': rows}).decode()}\n")
    if options.save:
        command = f"python -m tests.chaos --documents {options.documents} --json --save"
        results.save("chaos", _as_words(rows), command=command)
    if all(map(is_green, rows)):
        return 0
    sys.stderr.write(f"data and logs of what is not green: {folder}\n")
    return 1


def _rows_of_this_machine() -> list[str]:
    missing = {name: why for name, row in ROWS.items() if (why := row.why_not())}
    for name, why in missing.items():
        sys.stderr.write(f"without {name}: {why}\n")
    return [name for name in ROWS if name not in missing]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--save", action="store_true", help="keep as loadtests/results/chaos.json")
    parser.add_argument("--rows", default="", help="some of them, comma-separated")
    parser.add_argument("--documents", type=int, default=400, help="ordinary ones of each row")
    parser.add_argument("--folder", default="", help="of data and logs; a temporary one if absent")
    return parser


def _as_words(rows: Sequence[Figures]) -> list[dict[str, results.Value]]:
    return [
        {
            name: ("yes" if value else "no") if isinstance(value, bool) else value
            for name, value in row.items()
        }
        for row in rows
    ]


if __name__ == "__main__":
    raise SystemExit(main())
