"""Figures of a benchmark as a file, with what one needs to judge them: date, machine, commit, command."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

import orjson
from pydantic import ValidationError

from services.training.stamp import git_revision, machine
from shared.contracts.base import Contract
from shared.errors import Damaged, NotFound

FOLDER = Path(__file__).parent / "results"

_COMMIT = git_revision(12) or "unknown"
"""Of the code that was loaded: a long run ends at a later commit."""

Value = str | int | float | None
Row = Mapping[str, Value]


class Results(Contract):
    """`results/NAME.json`."""

    date: str
    machine: str
    commit: str
    command: str
    """Makes these figures again."""
    figures: dict[str, Value] | list[dict[str, Value]]
    """One value a name, or rows of a table that share their columns."""


def save(
    name: str,
    figures: Row | Sequence[Row],
    *,
    command: str | None = None,
    measured_on: str | None = None,
    folder: Path = FOLDER,
) -> Path:
    """Write the figures to `folder/NAME.json`, over the last ones, and return the path.

    Args:
        name: of the benchmark.
        figures: one value a name, or the rows of a table.
        command: what makes the figures again; `python -m loadtests.NAME --json` if absent.
        measured_on: the machine, where it is not this one.
        folder: of all results.
    """
    rows = dict(figures) if isinstance(figures, Mapping) else [dict(row) for row in figures]
    results = Results(
        date=datetime.now(UTC).date().isoformat(),
        machine=measured_on or machine(),
        commit=_COMMIT,
        command=command or f"python -m loadtests.{name} --json",
        figures=rows,
    )
    folder.mkdir(parents=True, exist_ok=True)
    path, new = folder / f"{name}.json", folder / f".{name}.new"
    new.write_bytes(orjson.dumps(results.model_dump(), option=orjson.OPT_INDENT_2) + b"\n")
    new.replace(path)
    return path


def read(name: str, folder: Path = FOLDER) -> Results:
    """Return the figures saved under `name`.

    Raises:
        NotFound: none are.
        Damaged: the file has another shape.
    """
    path = folder / f"{name}.json"
    try:
        return Results.model_validate_json(path.read_bytes())
    except FileNotFoundError as error:
        raise NotFound(f"{path}: no results saved under {name!r}") from error
    except ValidationError as error:
        raise Damaged(f"{path}: {error.errors()[0]['msg']}") from error


def rows_of(figures: Row | Sequence[Row]) -> Sequence[Row]:
    """Return rows as they are, and a row a named figure."""
    if isinstance(figures, Mapping):
        return [{"figure": name, "value": value} for name, value in figures.items()]
    return figures


def markdown_table(figures: Row | Sequence[Row]) -> str:
    """Return a markdown table: of rows, or of one line a named figure.

    A column X with X_low and X_high beside it becomes one, "X (X_low - X_high)".
    """
    rows = rows_of(figures)
    bounds = {f"{column}_{bound}" for column in rows[0] for bound in ("low", "high")}
    columns = [column for column in rows[0] if column not in bounds]
    lines = [columns, ["---"] * len(columns)]
    lines += [[_cell_with_bounds(row, column) for column in columns] for row in rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _cell_with_bounds(row: Row, column: str) -> str:
    low, high = row.get(f"{column}_low"), row.get(f"{column}_high")
    cell = _cell(row.get(column))
    return cell if low is None or high is None else f"{cell} ({_cell(low)} - {_cell(high)})"


def _cell(value: Value) -> str:
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:.4g}" if abs(value) < 1_000 else f"{value:,.0f}"
    return f"{value:,}" if isinstance(value, int) else value.replace("|", r"\|")
