"""How the command line talks: progress bars on standard error, results on standard output."""

from __future__ import annotations

from collections.abc import Callable, Iterator
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

out = Console(soft_wrap=True)
err = Console(stderr=True, soft_wrap=True)

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
    """Print one line of JSON."""
    out.print(orjson.dumps(value).decode(), highlight=False, markup=False)


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
