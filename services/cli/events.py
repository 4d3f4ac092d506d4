"""`skim events`: what users were shown and clicked becomes a data folder; its files are kept small and forgetful."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any

import typer

from services.cli.console import print_json
from services.cli.logged import Logged, log_in, put_new, with_log, write_card
from services.inference.event_compaction import compact as compact_files
from services.inference.event_compaction import forget
from services.training.event_data import log_query_id
from shared.bundle import current, open_bundle
from shared.dataset import Dataset, Query, read_dataset, write_dataset, write_lines
from shared.errors import Conflict, InvalidInput, NotFound, Unavailable
from shared.events.files import OPEN, event_files
from shared.events.privacy import What
from shared.events.record import stamp
from shared.plain_text import query_key
from shared.settings import CommonSettings

app = typer.Typer(help="What users were shown and clicked: into a data folder, compacted, erased.")

BaseOption = Annotated[
    Path | None,
    typer.Option(help="Data folder to begin with; without it, the ads of the served bundle."),
]


@app.command()
def export(
    target: Annotated[
        Path, typer.Argument(help="Data folder to write; one of its own is replaced.")
    ],
    base: BaseOption = None,
) -> None:
    """Write a data folder that has the log in it: clicks, impressions, exploration, new train queries.

    The base stays as it is, so that the same again gives the same, and what was erased is gone from the next one.
    """
    if target.exists() and log_in(target) is None:
        raise Conflict(f"{target}: exists, and is no folder that `skim events export` wrote")
    if base is not None and log_in(base) is not None:
        raise InvalidInput(f"{base}: has the log in it already; name the folder it was made from")
    common = CommonSettings()
    logged = with_log(common, _base_dataset(common, base), base)
    if not logged.dataset.queries:
        raise NotFound(
            f"{common.events}: no query of the log proved itself, so there is nothing to write: "
            f"{logged.summary.model_dump_json()}"
        )
    _write(target, base, logged)
    print_json({"folder": str(target), **logged.summary.model_dump()})


@app.command()
def put(base: Annotated[Path, typer.Argument(help="Data folder that is trained on.")]) -> None:
    """Make the log's new queries train queries of the running mapping service; labels follow by themselves.

    `skim train` does the same before it asks for labels; done earlier, the labels are there by then.
    """
    common = CommonSettings()
    logged = with_log(common, read_dataset(base), base)
    added = put_new(common, logged.new)
    if added is None:
        raise Unavailable(f"{common.mapping_url}: the mapping service did not take the queries")
    print_json({"added": added, **logged.summary.model_dump()})


@app.command()
def info() -> None:
    """Say what the event files hold, as they are."""
    folder = CommonSettings().events
    paths = event_files(folder)
    print_json(
        {
            "folder": str(folder),
            "days": sorted({path.name[:10] for path in paths}),
            "files": len(paths),
            "open_files": sum(path.suffix == OPEN for path in paths),
            "bytes": sum(path.stat().st_size for path in paths),
        }
    )


@app.command()
def erase(
    query: Annotated[str | None, typer.Option(help="Text of a query, in any case.")] = None,
    ad: Annotated[str | None, typer.Option(help="Id of an ad.")] = None,
    client: Annotated[str | None, typer.Option(help="Client, as events named it.")] = None,
) -> None:
    """Forget all events of a query, an ad or a client up to now: at once for training, and from closed files.

    From files that a service still writes it goes with the first compaction after they are closed.
    """
    named: list[tuple[What, str | None]] = [("query", query), ("ad", ad), ("client", client)]
    given = [(what, value) for what, value in named if value]
    if len(given) != 1:
        raise InvalidInput("name one of --query, --ad and --client")
    ((what, value),) = given
    folder = CommonSettings().events
    done = forget(folder, what, value, stamp(datetime.now(UTC)))
    told: dict[str, Any] = {"what": what, **asdict(done)}
    if what == "query":
        told["train_query"] = log_query_id(query_key(value))
    print_json(told)


@app.command()
def compact(
    keep_days: Annotated[
        int | None, typer.Option(min=1, help="Remove events of days before so many.")
    ] = None,
) -> None:
    """Make one packed file of each day's closed files, each event once, without what is erased."""
    today = datetime.now(UTC)
    keep_from = f"{today - timedelta(days=keep_days - 1):%Y-%m-%d}" if keep_days else ""
    print_json(asdict(compact_files(CommonSettings().events, keep_from=keep_from)))


def _base_dataset(common: CommonSettings, base: Path | None) -> Dataset:
    if base is not None:
        return read_dataset(base)
    bundle = open_bundle(current(common.bundles))
    return Dataset(bundle.ads, [], clicks={}, truth={})


def _write(target: Path, base: Path | None, logged: Logged) -> None:
    """Write the folder beside its place, then put it there; an earlier one goes last."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=f".{target.name}-") as scratch:
        new, old = Path(scratch) / "new", Path(scratch) / "old"
        write_dataset(new, replace(logged.dataset, queries=list(logged.dataset.queries)))
        for path in sorted((base / "splits").glob("*.tsv")) if base else []:
            _extend_split(path, new / "splits" / path.name, logged.new)
        write_card(new, logged.summary)
        if target.exists():
            target.rename(old)
        new.rename(target)
        shutil.rmtree(old, ignore_errors=True)


def _extend_split(source: Path, target: Path, new: Sequence[Query]) -> None:
    lines = [line for line in source.read_text(encoding="utf-8").splitlines() if line.strip()]
    write_lines(target, [*lines, *(f"{query.id}\t{query.split}" for query in new)])
