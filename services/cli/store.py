"""`skim store`: everything the suite has stored, out into a file and in again."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from services.cli.console import print_json, progress_bar
from services.cli.erasure import erase as erase_documents
from services.cli.erasure import places_of
from services.cli.store_files import export_to, import_from
from shared.settings import CommonSettings
from shared.store import RedisStore

_RETRIES = 20

app = typer.Typer(help="Documents, labels, jobs and all else in Redis: into a file, and back.")


@app.command("export")
def export(
    output: Annotated[
        Path, typer.Argument(help="File to write, a line each; .gz or .xz packs it.")
    ],
) -> None:
    """Write the whole store to a file. Broken off, run it again: it goes on where it was.

    The suite may run: what was accepted before is in the file, and what is not whole by then is worked on anew where it
    is imported.
    """
    with progress_bar("Exporting") as advance:
        written = export_to(output, _store(), advance)
    print_json({"output": str(output), **asdict(written)})


@app.command("import")
def import_(
    source: Annotated[Path, typer.Argument(help="File that `skim store export` wrote.")],
    replace: Annotated[
        bool, typer.Option("--replace", help="Remove what the store holds first.")
    ] = False,
    is_sure: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Fill an empty store from a file. Broken off, run it again: it goes on where it was.

    Only Redis has to run; other parts refuse the store until the import has ended.
    """
    if replace and not is_sure:
        typer.confirm("Remove every document, label and job there is?", abort=True)
    with progress_bar("Importing") as advance:
        counts = import_from(source, _store(), advance, replace=replace)
    print_json({"source": str(source), **counts.model_dump(mode="json")})


@app.command("erase")
def erase(
    documents: Annotated[list[str], typer.Argument(help="Ids of documents.")],
    prove: Annotated[
        list[str] | None,
        typer.Option(
            help="Then look everywhere for this text, which only they had; may be repeated."
        ),
    ] = None,
) -> None:
    """Erase documents everywhere: labels, ads, events of these ads; journals and Redis' files are written anew.

    Bundles and data folders that know them stay, and are named by --prove; so do copies that you made.
    """
    common, store = CommonSettings(), _store()
    told = asdict(erase_documents(documents, common, store))
    if prove:
        told["left"] = [place for text in prove for place in places_of(text, common, store)]
    print_json(told)
    if told.get("left"):
        raise typer.Exit(1)


@app.command("find")
def find(text: Annotated[str, typer.Argument(help="In any case.")]) -> None:
    """Name every key of Redis and every file of SKIM_HOME that has a text; exit code 1 if there is one."""
    places = list(places_of(text, CommonSettings(), _store()))
    print_json({"places": places})
    if places:
        raise typer.Exit(1)


def _store() -> RedisStore:
    return RedisStore.at(CommonSettings().redis_url, retries=_RETRIES)
