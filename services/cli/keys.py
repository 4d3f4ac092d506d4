"""`skim keys`: make, list and revoke the API keys that services take; none needs a restart."""

from __future__ import annotations

from typing import Annotated

import typer
from rich import box
from rich.table import Table

from services.cli.console import err, out, print_json
from shared.errors import InvalidInput
from shared.keys import Scope, add_key, new_key, read_keys, remove_key
from shared.settings import CommonSettings

app = typer.Typer(help="Make, list and revoke API keys; running services see it within a second.")

NameArgument = Annotated[str, typer.Argument(help="What the key is for: a-z, 0-9 and -.")]


@app.command()
def create(
    name: NameArgument,
    scopes: Annotated[
        str, typer.Option(help=f"Of {', '.join(Scope)}; comma-separated, none includes another.")
    ] = Scope.READ.value,
    requests_per_second: Annotated[
        float | None, typer.Option(help="Its own limit; SKIM_REQUESTS_PER_SECOND if absent.")
    ] = None,
) -> None:
    """Make a key and print it, this once; the key file keeps a hash."""
    path = CommonSettings().key_file
    is_first = not path.exists()
    token, key = new_key(name, _scopes_of(scopes), requests_per_second)
    add_key(path, key)
    out.print(token, highlight=False, markup=False)
    err.print(f"Kept as a hash in {path}; it cannot be shown again.", highlight=False)
    if is_first:
        err.print("This is the first: from its next start on, `skim up` asks for keys.")


@app.command("list")
def list_keys(
    as_json: Annotated[bool, typer.Option("--json", help="Print one line of JSON.")] = False,
) -> None:
    """Show the keys of the key file: names, scopes and limits."""
    path = CommonSettings().key_file
    keys = read_keys(path) if path.exists() else {}
    if as_json:
        print_json(
            [
                {
                    "name": key.name,
                    "scopes": sorted(key.scopes),
                    "requests_per_second": key.requests_per_second,
                }
                for key in keys.values()
            ]
        )
        return
    table = Table("name", "scopes", "requests per second", box=box.SIMPLE_HEAD)
    for key in keys.values():
        table.add_row(key.name, ", ".join(sorted(key.scopes)), f"{key.requests_per_second or '-'}")
    out.print(table if keys else f"{path}: no keys yet; `skim keys create` makes one.")


@app.command()
def revoke(name: NameArgument) -> None:
    """Take a key out of the key file; who uses it is refused from then on."""
    path = CommonSettings().key_file
    remove_key(path, name)
    err.print(f"{name} is revoked.", highlight=False)


def _scopes_of(text: str) -> frozenset[Scope]:
    try:
        return frozenset(Scope(each.strip()) for each in text.split(","))
    except ValueError as error:
        raise InvalidInput(f"scopes are of {', '.join(Scope)}; got {text!r}") from error
