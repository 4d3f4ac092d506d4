"""A table of the report before anyone decides how it looks: page, Markdown and terminal show the same one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from shared.plain_text import one_line
from shared.report_page.plots import Plot
from shared.report_page.stamp import Stamp

NOTHING = "–"  # noqa: RUF001  (an en dash, as in any printed table)


@dataclass(frozen=True)
class Table:
    """Rows of texts under a caption; the first column names the row.

    Args:
        caption: says what the rows are.
        columns: headings.
        rows: one text a column.
        texts: so many columns from the left hold words, the others figures.
    """

    caption: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    texts: int = 1


@dataclass(frozen=True)
class Section:
    """A heading with what belongs under it."""

    heading: str
    notes: Sequence[str] = ()
    tables: Sequence[Table] = ()
    plots: Sequence[Plot] = ()
    stamp: Stamp = field(default_factory=Stamp)


def words(text: str) -> str:
    """Return text of a document or a query as one visible line."""
    return one_line(text)


def phrases(texts: Sequence[str]) -> str:
    """Return several queries as one line."""
    return " · ".join(words(text) for text in texts)


def whole(value: float | None) -> str:
    """Return a count with thousands parted."""
    return NOTHING if value is None else f"{value:,.0f}"


def percent(value: float | None, *, sign: bool = False) -> str:
    """Return a share in percent, one decimal, with its sign if asked."""
    if value is None:
        return NOTHING
    return f"{100 * value:+.1f}" if sign else f"{100 * value:.1f}"


def percent_of(part: int, whole_count: int) -> str:
    """Return a count and its share of another."""
    if not whole_count:
        return whole(part)
    return f"{part:,} ({part / whole_count:.1%})"
