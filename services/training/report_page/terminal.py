"""Tables of the report at a terminal."""

from __future__ import annotations

from collections.abc import Iterable

from rich import box
from rich.table import Table as RichTable
from rich.text import Text

from shared.report_page.tables import Table


def terminal_tables(tables: Iterable[Table]) -> list[RichTable]:
    """Return them for rich; texts of documents are text, not markup."""
    return [_table(table) for table in tables]


def _table(table: Table) -> RichTable:
    shown = RichTable(title=Text(table.caption), box=box.SIMPLE_HEAD, title_justify="left")
    for number, column in enumerate(table.columns):
        shown.add_column(
            Text(column),
            justify="left" if number < table.texts else "right",
            overflow="fold",
        )
    for row in table.rows:
        shown.add_row(*map(Text, row))
    return shown
