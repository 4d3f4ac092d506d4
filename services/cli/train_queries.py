"""`skim mapping put` and `skim mapping delete`: train queries of a running mapping service, changed at once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated

import typer

from services.cli.console import print_json, progress_bar
from shared.clients import MappingClient
from shared.contracts.base import Contract
from shared.contracts.mapping import TrainQueriesChanged, TrainQuery, TrainQueryId
from shared.dataset import read_queries, read_rows
from shared.errors import InvalidInput
from shared.settings import CommonSettings

_LINES = 1_000


def put(
    file: Annotated[Path, typer.Argument(help="queries.jsonl; its train queries are taken.")],
) -> None:
    """Add train queries to the running mapping service, or give known ids another text.

    They are mapped to at once; documents that were mapped before follow in the background, without the SLM.
    """
    queries = [
        TrainQuery(id=query.id, text=query.text)
        for query in read_queries(file)
        if query.split == "train"
    ]
    with MappingClient(CommonSettings().mapping_url) as client:
        _change(queries, client.put_train_queries, "Putting train queries", file)


def delete(
    file: Annotated[Path, typer.Argument(help='Train queries by id, {"id"} a line.')],
) -> None:
    """Take train queries out of the running mapping service; the labels to them go in the background."""
    with MappingClient(CommonSettings().mapping_url) as client:
        ids = [TrainQueryId(id=row.id) for row in read_rows(file, _AnyRow)]
        _change(ids, client.delete_train_queries, "Deleting train queries", file)


class _AnyRow(Contract, extra="ignore"):
    """A row that has an id."""

    id: str


def _change(
    rows: Sequence[Contract],
    change: Callable[[Sequence[Contract]], TrainQueriesChanged],
    title: str,
    file: Path,
) -> None:
    if not rows:
        raise InvalidInput(f"{file}: no train queries")
    counts: Counter[str] = Counter()
    with progress_bar(title) as advance:
        for start in range(0, len(rows), _LINES):
            changed = change(rows[start : start + _LINES])
            counts.update(changed.model_dump(exclude={"version", "train_queries"}))
            advance(min(start + _LINES, len(rows)), len(rows))
    now = changed.model_dump(include={"version", "train_queries"})
    print_json({**now, **{name: number for name, number in counts.items() if number}})
