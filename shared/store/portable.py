"""A store that can be read as rows and written from them: for moves, and for copies that outlive a layout."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol

from shared.contracts.augmentation import Counts
from shared.errors import Conflict
from shared.store.rows import HeaderRow, Row

IS_IMPORTING = "an import is under way there; `skim store import` goes on with it"


class Portable(Protocol):
    """Reads and writes a store as rows. Each call raises as a `Store`'s do."""

    def header(self) -> HeaderRow:
        """Return the first row of an export that begins now."""

    def totals(self) -> dict[str, int]:
        """Return the running sums: other ones than before tell that the store was worked on."""

    def iterate_rows(self, after: str = "") -> Iterator[Row]:
        """Yield everything in flat memory, documents last and by id; only those that follow `after`, if it is given."""

    def begin_import(self, header: HeaderRow, *, replace: bool) -> int:
        """Take the store for an import, or go on with it; return how many rows are written already.

        Until `end_import` nobody else can use the store.

        Args:
            header: of the export.
            replace: remove everything there is, an unfinished import too.

        Raises:
            Conflict: the store is not empty, or has half of another import.
        """

    def import_rows(self, since: int, rows: Sequence[Row]) -> int:
        """Write rows in one step, if so many are written before; return how many are now."""

    def end_import(self, *, has_moved: bool) -> Counts:
        """Count what was imported and let others use the store; safe to repeat before it has returned.

        Args:
            has_moved: the store was worked on while it was exported: what has no labels and is nobody's work becomes a
                job of its own.
        """


def not_empty(documents: int, jobs: int) -> Conflict:
    """Return the error of an import into a store that holds something."""
    return Conflict(
        f"the store holds {documents:,} documents and {jobs:,} jobs, an import needs an empty one; "
        "`skim store import --replace` removes what is there"
    )


def half_of_another() -> Conflict:
    """Return the error of an import into a store that holds a part of another one."""
    return Conflict(
        "the store holds half of the import of another file; give that one, or begin anew with "
        "`skim store import --replace`"
    )
