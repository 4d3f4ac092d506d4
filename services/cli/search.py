"""`skim search`: ask the running inference service for ads."""

from __future__ import annotations

from typing import Annotated

import typer
from rich import box
from rich.table import Table

from services.cli.console import out, print_json, print_table
from shared.clients import InferenceClient
from shared.settings import CommonSettings


def search(
    query: Annotated[str, typer.Argument(help="What somebody types.")],
    k: Annotated[int, typer.Option("-k", min=1, max=1000, help="How many ads.")] = 10,
    as_json: Annotated[bool, typer.Option("--json", help="Print one line of JSON.")] = False,
) -> None:
    """Show the top ads of a query."""
    with InferenceClient(CommonSettings().inference_url, attempts=1) as client:
        answer = client.ads(query, k)
    if as_json:
        print_json(answer.model_dump())
        return
    table = Table("", "ad", "id", "score", box=box.SIMPLE_HEAD)
    for place, ad in enumerate(answer.ads, start=1):
        table.add_row(str(place), ad.title, ad.id, f"{ad.score:.3f}")
    print_table(table)
    out.print(f"{answer.took_ms:.1f} ms, bundle {answer.generation}", highlight=False)
