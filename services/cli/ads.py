"""`skim ads` and `skim bundles`: the ads and the bundles of a running inference service, changed at once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, TypeVar

import typer
from rich import box
from rich.table import Table

from services.cli.console import out, print_json, progress_bar
from shared.clients import InferenceClient
from shared.contracts.base import Contract
from shared.contracts.inference import Ad, AdPatch, AdsChanged
from shared.dataset import read_rows
from shared.errors import InvalidInput
from shared.settings import CommonSettings

app = typer.Typer(help="Ads of the running inference service.", no_args_is_help=True)
bundles_app = typer.Typer(help="Bundles: list, activate, roll back.", no_args_is_help=True)
_LINES = 500
_LISTED = "recall@100"
"""Of a bundle's metrics."""
_Row = TypeVar("_Row")


@app.command()
def put(
    file: Annotated[
        Path,
        typer.Argument(help='documents.jsonl; each becomes an ad. May have "synthetic_queries".'),
    ],
) -> None:
    """Add ads, or give known ids another content: the next query finds them, no training is needed."""
    with InferenceClient(CommonSettings().inference_url) as client:
        _change(list(read_rows(file, Ad)), client.put_ads, "Putting ads", file)


@app.command()
def patch(
    file: Annotated[Path, typer.Argument(help='{"id", "title", "text", "metadata"} a line.')],
) -> None:
    """Change parts of ads: what a line does not name stays, null takes a field of metadata out."""
    with InferenceClient(CommonSettings().inference_url) as client:
        _change(list(read_rows(file, AdPatch)), client.patch_ads, "Patching ads", file)


@app.command()
def delete(
    file: Annotated[Path, typer.Argument(help='Ads by id, {"id"} a line.')],
) -> None:
    """Take ads out; no bundle to come brings them back, only `skim ads put` does."""
    with InferenceClient(CommonSettings().inference_url) as client:
        ids = [row.id for row in read_rows(file, _AnyRow)]
        _change(ids, client.delete_ads, "Deleting ads", file)


@app.command()
def explain(
    ad_id: Annotated[str, typer.Argument(help="Id of an ad.")],
    query: Annotated[str, typer.Argument(help="What somebody types.")],
) -> None:
    """Say what an ad's score for a query adds up from, and what taught the ad."""
    with InferenceClient(CommonSettings().inference_url, attempts=1) as client:
        print_json(client.explain(ad_id, query).model_dump())


@bundles_app.command("list")
def list_bundles(
    as_json: Annotated[bool, typer.Option("--json", help="Print one line of JSON.")] = False,
) -> None:
    """Show the bundles there are, newest first, and their recall; --json tells all their metrics."""
    with InferenceClient(CommonSettings().inference_url, attempts=1) as client:
        known = client.bundles()
    if as_json:
        print_json(known.model_dump(mode="json"))
        return
    table = Table("", "bundle", "made at", "ads", "encoder", "metrics", box=box.SIMPLE_HEAD)
    for each in known.bundles:
        mark = "*" if each.is_served else "-" if each.version == known.previous else ""
        at = f"{each.created_at:%Y-%m-%d %H:%M}"
        shown = (f"{name} {value:.3f}" for name, value in each.metrics.items() if _LISTED in name)
        table.add_row(mark, each.version, at, f"{each.ads:,}", each.encoder, "\n".join(shown))
    out.print(table)
    out.print("* is served, - is what `skim bundles rollback` goes back to", highlight=False)


@bundles_app.command()
def activate(version: Annotated[str, typer.Argument(help="Name of a bundle.")]) -> None:
    """Verify a bundle and serve it, without a failed request."""
    with InferenceClient(CommonSettings().inference_url, attempts=1) as client:
        print_json(client.activate(version).model_dump())


@bundles_app.command()
def rollback() -> None:
    """Serve the bundle that was served before."""
    with InferenceClient(CommonSettings().inference_url, attempts=1) as client:
        print_json(client.rollback().model_dump())


class _AnyRow(Contract, extra="ignore"):
    """A row that has an id."""

    id: str


def _change(
    rows: Sequence[_Row], change: Callable[[Sequence[_Row]], AdsChanged], title: str, file: Path
) -> None:
    if not rows:
        raise InvalidInput(f"{file}: no ads")
    counts: Counter[str] = Counter()
    with progress_bar(title) as advance:
        for start in range(0, len(rows), _LINES):
            changed = change(rows[start : start + _LINES])
            counts.update(changed.model_dump(exclude={"ads_version", "ads"}))
            advance(min(start + _LINES, len(rows)), len(rows))
    now = changed.model_dump(include={"ads_version", "ads"})
    print_json({**now, **{name: number for name, number in counts.items() if number}})
