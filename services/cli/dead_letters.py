"""`skim dead-letters`: what the running suite gave up, to read, take in again or forget."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Annotated

import typer
from rich import box
from rich.table import Table
from rich.text import Text

from services.cli.console import out, print_json
from shared.clients import AugmentationClient
from shared.contracts.augmentation import ReplayedDeadLetters
from shared.settings import CommonSettings

_IDS_PER_REPLAY = 1_000
_IDS_PER_PURGE = 100

app = typer.Typer(help="Documents that were given up: list, replay, purge.")
Ids = Annotated[list[str] | None, typer.Argument(help="Ids of documents; all without one.")]


@app.command("list")
def show(
    as_json: Annotated[bool, typer.Option("--json", help="Print a line of JSON each.")] = False,
) -> None:
    """Show every dead letter: document, tries, when and why."""
    table = Table("document", "tries", "failed at", "reason", box=box.SIMPLE_HEAD)
    with _client() as client:
        for each in client.all_dead_letters():
            if as_json:
                print_json(each.model_dump(mode="json"))
            else:
                at = f"{each.failed_at:%Y-%m-%d %H:%M:%S}"
                table.add_row(each.document_id, str(each.tries), at, Text(each.reason))
    if not as_json:
        out.print(table if table.row_count else "No dead letters.")


@app.command("replay")
def replay(documents: Ids = None) -> None:
    """Take documents in again, each with all its tries."""
    with _client() as client:
        print_json(replay_all(client, documents or []))


@app.command("purge")
def purge(
    documents: Ids = None,
    is_sure: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Forget dead letters; the documents stay."""
    if not documents and not is_sure:
        typer.confirm("Forget all dead letters?", abort=True)
    with _client() as client:
        if documents:
            pages = batched(documents, _IDS_PER_PURGE)
            print_json({"purged": sum(map(client.purge_dead_letters, pages))})
        else:
            print_json({"purged": client.purge_dead_letters()})


def replay_all(client: AugmentationClient, documents: Sequence[str]) -> dict[str, object]:
    """Replay the dead documents named, or all that were dead when we began, and return the jobs."""
    if documents:
        pages = [client.replay_dead_letters(ids) for ids in batched(documents, _IDS_PER_REPLAY)]
        return _summary_of(pages)
    pages, left = [], client.dead_letters(limit=1).total
    while left > 0:
        pages.append(client.replay_dead_letters())
        if pages[-1].job is None:
            break
        left -= pages[-1].job.documents
    return _summary_of(pages)


def _summary_of(pages: Sequence[ReplayedDeadLetters]) -> dict[str, object]:
    jobs = [page.job for page in pages if page.job]
    return {
        "jobs": [job.id for job in jobs],
        "documents": sum(job.documents for job in jobs),
        "left": pages[-1].left if pages else 0,
    }


def batched(ids: Sequence[str], size: int) -> Iterator[Sequence[str]]:
    """Yield slices of at most `size`."""
    return (ids[start : start + size] for start in range(0, len(ids), size))


def _client() -> AugmentationClient:
    return AugmentationClient(CommonSettings().augmentation_url)
