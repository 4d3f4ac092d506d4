"""Rewrite the tables between `<!-- results:NAME -->` and `<!-- /results -->`: `python -m loadtests.tables`."""

from __future__ import annotations

import re
import sys
from pathlib import Path

from loadtests import results
from shared.errors import SkimError

_ROOT = Path(__file__).parents[1]
_PAGES = tuple(_ROOT / page for page in ("README.md", "loadtests/README.md", "deploy/README.md"))
_BLOCK = re.compile(
    r"(?P<open><!-- results:(?P<name>[a-z0-9_-]+) -->\n).*?(?P<close><!-- /results -->)", re.DOTALL
)


def rewritten(page: str, folder: Path = results.FOLDER) -> str:
    """Return a markdown page with its tables made from the results in `folder`.

    Raises:
        NotFound: the page names results that were never saved.
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
    return f"{block['open']}{results.markdown_table(saved.figures)}\n\n{source}\n{block['close']}"


if __name__ == "__main__":
    raise SystemExit(main())
