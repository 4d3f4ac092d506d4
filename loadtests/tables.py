"""Rewrite the tables between `<!-- results:NAME -->` and `<!-- /results -->`: `python -m loadtests.tables`.

`<!-- results:NAME COLUMN=A,B -->` takes the rows with A or B in a column; named figures are rows of `figure` and `value`.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from pathlib import Path

from loadtests import results
from loadtests.results import Row
from shared.errors import NotFound, SkimError

_ROOT = Path(__file__).parents[1]
_PAGES = tuple(
    _ROOT / page
    for page in ("README.md", "loadtests/README.md", "deploy/README.md", "services/WHY.md")
)
_BLOCK = re.compile(
    r"(?P<open><!-- results:(?P<name>[a-z0-9_-]+)(?: (?P<column>\w+)=(?P<chosen>[\w,-]+))? -->\n)"
    r".*?(?P<close><!-- /results -->)",
    re.DOTALL,
)


def rewritten(page: str, folder: Path = results.FOLDER) -> str:
    """Return a markdown page with its tables made from the results in `folder`.

    Raises:
        NotFound: the page names results that were never saved, or rows that are not in them.
        Damaged: a results file has another shape.
    """
    return _BLOCK.sub(lambda block: _block(block, folder), page)


def main() -> int:
    """Rewrite the pages; with `--check` only say whether they are current."""
    stale = []
    for path in _PAGES:
        before = path.read_text()
        try:
            after = rewritten(before)
        except SkimError as error:
            print(f"{path}: {error}", file=sys.stderr)
            return 1
        if after != before:
            stale.append(path)
            if "--check" not in sys.argv:
                path.write_text(after)
    for path in stale:
        print(path.relative_to(_ROOT))
    return int(bool(stale) and "--check" in sys.argv)


def _block(block: re.Match[str], folder: Path) -> str:
    saved = results.read(block["name"], folder)
    source = f"{saved.date}, {saved.machine}, commit {saved.commit}: `{saved.command}`"
    figures: Row | Sequence[Row] = saved.figures
    if block["column"]:
        figures = _chosen(figures, block["column"], block["chosen"].split(","), block["name"])
    return f"{block['open']}{results.markdown_table(figures)}\n\n{source}\n{block['close']}"


def _chosen(
    figures: Row | Sequence[Row], column: str, chosen: Sequence[str], name: str
) -> Sequence[Row]:
    """Return the rows that have one of the chosen values, in the order they have."""
    rows = results.rows_of(figures)
    missing = set(chosen) - {row.get(column) for row in rows}
    if missing:
        raise NotFound(f"results {name!r}: no {column} {', '.join(sorted(missing))}")
    return [row for row in rows if row[column] in chosen]


if __name__ == "__main__":
    raise SystemExit(main())
