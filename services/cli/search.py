"""`skim search`: ask the running inference service for ads."""

from __future__ import annotations

from typing import Annotated

import orjson
import typer
from rich import box
from rich.table import Table

from services.cli.console import out, print_json, print_table
from shared.clients import InferenceClient
from shared.errors import InvalidInput
from shared.settings import CommonSettings


def search(
    query: Annotated[str, typer.Argument(help="What somebody types.")],
    k: Annotated[int, typer.Option("-k", min=1, max=1000, help="How many ads.")] = 10,
    wanted: Annotated[
        str | None,
        typer.Option("--filter", help='JSON: \'{"brand": "acme", "price": {"lt": 20}}\'.'),
    ] = None,
    fields: Annotated[str, typer.Option(help="Comma-separated: text, names of metadata.")] = "",
    as_json: Annotated[bool, typer.Option("--json", help="Print one line of JSON.")] = False,
) -> None:
    """Show the top ads of a query."""
    names = [name for each in fields.split(",") if (name := each.strip())]
    with InferenceClient(CommonSettings().inference_url, attempts=1) as client:
        answer = client.ads(query, k, filter=_filter_of(wanted), fields=names)
    if as_json:
        print_json(answer.model_dump())
        return
    table = Table("", "ad", "id", "score", *names, box=box.SIMPLE_HEAD)
    for place, ad in enumerate(answer.ads, start=1):
        chosen = [str((ad.fields or {}).get(name, "")) for name in names]
        table.add_row(str(place), ad.title, ad.id, f"{ad.score:.3f}", *chosen)
    print_table(table)
    out.print(f"{answer.took_ms:.1f} ms, bundle {answer.generation}", highlight=False)


def _filter_of(text: str | None) -> dict[str, object] | None:
    if text is None:
        return None
    try:
        wanted = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise InvalidInput(f"--filter is not JSON: {error}") from error
    if not isinstance(wanted, dict):
        raise InvalidInput("--filter: expected a JSON object, field to value or condition")
    return wanted
