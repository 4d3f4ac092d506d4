"""How the command line talks: progress bars on standard error, results on standard output."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import orjson
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table
from rich.text import Text

out = Console(soft_wrap=True)
err = Console(stderr=True, soft_wrap=True)

wants_json = False
"""Whether `--json` was given; `contents.py` listens for it."""

Advance = Callable[[int, int], None]
"""Called with (done, total)."""
AdvanceWithNote = Callable[[int, int, str], None]
"""Called with (done, total, what to say beside the bar)."""


@contextmanager
def progress_bar(title: str) -> Iterator[Advance]:
    """Show a bar with the time left while the body works; a line a tenth when nobody watches."""
    with progress_bar_with_note(title) as advance:
        yield lambda done, total: advance(done, total, "")


@contextmanager
def progress_bar_with_note(title: str) -> Iterator[AdvanceWithNote]:
    """Show a bar as `progress_bar` does, with a line of text beside it that changes as it moves."""
    if not err.is_terminal:
        yield _plain_lines(title)
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
    )
    with Progress(*columns, console=err) as bar:
        task = bar.add_task(title, total=None, note="")
        yield lambda done, total, note: bar.update(task, completed=done, total=total, note=note)


def print_json(value: Any) -> None:  # noqa: ANN401  (anything JSON can hold)
    """Print a result as one line of JSON; at a terminal, and unless it is asked for, as lines for a person."""
    if out.is_terminal and not wants_json and isinstance(value, dict):
        lines = list(readable(value))
        width = max((len(name) for name, _ in lines), default=0)
        for name, text in lines:
            out.print(f"{name:{width}}  {text}", highlight=False, markup=False)
        return
    out.print(orjson.dumps(value).decode(), highlight=False, markup=False)


def print_table(table: Table) -> None:
    """Print a table; where nobody watches as lines with tabs, the names of the columns first."""
    if out.is_terminal:
        out.print(table)
        return
    columns = [[str(column.header), *map(_plain, column.cells)] for column in table.columns]
    for row in zip(*columns, strict=True):
        out.file.write("\t".join(row) + "\n")  # a console would make blanks of the tabs


def _plain(cell: object) -> str:
    return cell.plain if isinstance(cell, Text) else str(cell)


def readable(value: Mapping[str, Any], within: str = "") -> Iterator[tuple[str, str]]:
    """Yield name and value of each member of a result, those of its objects one by one."""
    for name, each in value.items():
        name = f"{within}{name}".replace("_", " ")
        if isinstance(each, dict) and each:
            yield from readable(each, f"{name}, ")
        elif isinstance(each, bool) or each is None:
            yield name, {True: "yes", False: "no", None: "-"}[each]
        elif isinstance(each, int):
            yield name, f"{each:,}"
        elif isinstance(each, str):
            yield name, each
        else:
            yield name, orjson.dumps(each).decode()


def _plain_lines(title: str) -> AdvanceWithNote:
    tenths_told = -1

    def _advance(done: int, total: int, note: str) -> None:
        nonlocal tenths_told
        tenths = 10 * done // max(total, 1)
        if tenths > tenths_told:
            tenths_told = tenths
            line = f"{title}: {done} of {total}"
            err.print(f"{line}; {note}" if note else line, highlight=False, markup=False)

    err.print(f"{title} ...", highlight=False, markup=False)
    return _advance
