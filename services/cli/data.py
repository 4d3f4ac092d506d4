"""`skim data`: make the default catalogue, read and write other formats, look at a data folder."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from services.cli.console import err, print_json, progress_bar
from shared.dataset import Dataset, read_dataset, write_dataset, write_pairs
from shared.encoder import SentenceEncoder
from shared.errors import Conflict, InvalidInput
from shared.formats.beir import write_beir
from shared.formats.detection import read_any
from shared.formats.esci import write_esci
from shared.formats.shop import read_shop
from shared.formats.trec import read_qrels
from shared.formats.wands import write_wands
from shared.formats.xc import write_xc
from shared.settings import CommonSettings

if TYPE_CHECKING:
    from services.training.things import ThingsSummary

THINGS = "things"
"""Name of the known set."""

app = typer.Typer(
    help="Make the default catalogue, read and write other formats, look at a data folder."
)


class Format(StrEnum):
    """A format that data sets are published in."""

    xc = "xc"
    beir = "beir"
    wands = "wands"
    esci = "esci"


_WRITERS: Mapping[Format, Callable[[Path, Dataset], None]] = {
    Format.xc: write_xc,
    Format.beir: write_beir,
    Format.wands: write_wands,
    Format.esci: write_esci,
}


@app.command()
def things(
    folder: Annotated[Path, typer.Argument(help="Folder to write.")],
    documents: Annotated[
        int | None, typer.Option(min=100, help="Only a fixed random slice of this size.")
    ] = None,
    source: Annotated[
        Path | None,
        typer.Option(help="Folder with WordNet's data.noun; found or fetched if absent."),
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of slice and splits.")] = 0,
) -> None:
    """Build the catalogue of WordNet's artifacts and foods, with truth, biased clicks and two splits."""
    print_json(_build_things(folder, documents, source, seed).model_dump())


@app.command()
def fetch() -> None:
    """Fetch WordNet unless this machine has one, so that `skim data things` works offline."""
    from services.training.wordnet_source import find_wordnet

    wordnet = find_wordnet(CommonSettings().home / "wordnet")
    print_json({"wordnet": str(wordnet.data_noun), "version": wordnet.version})


@app.command()
def convert(
    source: Annotated[Path, typer.Argument(help="Folder in XC, BEIR, WANDS or ESCI layout.")],
    folder: Annotated[Path, typer.Argument(help="Data folder to write.")],
) -> None:
    """Turn a published data set into a data folder."""
    dataset = read_any(source)
    write_dataset(folder, dataset)
    info(folder)


@app.command()
def shop(
    feed: Annotated[
        Path,
        typer.Argument(help="Products: columns id, title, description; others become metadata."),
    ],
    log: Annotated[
        Path, typer.Argument(help="Clicks: query, product_id, maybe clicks, impressions.")
    ],
    folder: Annotated[Path, typer.Argument(help="Data folder to write; must not exist.")],
    validation: Annotated[
        float, typer.Option(min=0, max=0.5, help="Share of queries kept for choosing.")
    ] = 0.1,
    test: Annotated[
        float, typer.Option(min=0, max=0.5, help="Share of queries that nothing learns from.")
    ] = 0.0,
) -> None:
    """Turn a product feed and a click log (CSV, TSV, JSON lines, Parquet) into a data folder."""
    if folder.exists():
        raise Conflict(f"{folder}: exists already; name another one")
    read = read_shop(feed, log, validation_share=validation, test_share=test)
    dataset = read.dataset
    if not dataset.clicks:
        raise InvalidInput(f"{log}: no click on a product of {feed}")
    write_dataset(folder, dataset)
    print_json(
        {
            "folder": str(folder),
            "documents": len(dataset.documents),
            "queries": dict(Counter(query.split for query in dataset.queries)),
            "clicks": sum(map(len, dataset.clicks.values())),
            "shown": sum(map(len, dataset.impressions.values())),
            "unknown_products": read.unknown_products,
            "empty_queries": read.empty_queries,
        }
    )


@app.command()
def export(
    folder: Annotated[Path, typer.Argument(help="Data folder to read.")],
    target: Annotated[Path, typer.Argument(help="Folder to write; must be new or empty.")],
    format: Annotated[Format, typer.Option(help="Layout to write.")],
) -> None:
    """Write a data folder in a published layout, with what that layout can carry of it."""
    if target.exists() and not (target.is_dir() and next(target.iterdir(), None) is None):
        raise Conflict(f"{target}: expected a new or an empty folder")
    dataset = read_dataset(folder)
    _WRITERS[format](target, dataset)
    print_json(
        {
            "format": format,
            "documents": len(dataset.documents),
            "files": sorted(
                str(path.relative_to(target)) for path in target.rglob("*") if path.is_file()
            ),
        }
    )


@app.command()
def info(folder: Annotated[Path, typer.Argument(help="Data folder to check.")]) -> None:
    """Read a data folder whole and count what is in it; an error names file and line."""
    dataset = read_dataset(folder)
    print_json(
        {
            "documents": len(dataset.documents),
            "queries": dict(Counter(query.split for query in dataset.queries)),
            "clicks": sum(map(len, dataset.clicks.values())),
            "truth": sum(map(len, dataset.truth.values())),
            "splits": sorted(path.stem for path in (folder / "splits").glob("*.tsv")),
        }
    )


@app.command()
def qrels(
    file: Annotated[
        Path, typer.Argument(help="TREC qrels: query, iteration, document, relevance.")
    ],
    folder: Annotated[Path, typer.Argument(help="Data folder whose qrels.tsv is written.")],
    replace: Annotated[
        bool, typer.Option("--replace", help="Take the place of the truth that is there.")
    ] = False,
) -> None:
    """Import judgements made by people, of queries and documents that the folder holds."""
    target = folder / "qrels.tsv"
    if target.exists() and not replace:
        raise Conflict(f"{target}: exists; --replace takes its place")
    dataset = read_dataset(folder)
    judged = read_qrels(file)
    documents = {document.id for document in dataset.documents}
    queries = {query.id for query in dataset.queries}
    known = {
        query_id: {name: value for name, value in row.items() if name in documents}
        for query_id, row in judged.items()
        if query_id in queries
    }
    kept = sum(map(len, known.values()))
    if not kept:
        raise InvalidInput(f"{file}: judges no document of {folder} for any of its queries")
    write_pairs(target, known)
    in_all = sum(map(len, judged.values()))
    print_json({"file": str(target), "judgements": kept, "of_others_left_out": in_all - kept})


def data_folder(name: Path) -> Path:
    """Return a data folder; a known set that is no folder yet is built under `<home>/data` first."""
    if str(name) != THINGS or name.exists():
        return name
    folder = CommonSettings().data / THINGS
    if not (folder / "documents.jsonl").exists():
        err.print(f"Building {THINGS} in {folder}")
        _build_things(folder, documents=None, source=None, seed=0)
    return folder


def _build_things(
    folder: Path, documents: int | None, source: Path | None, seed: int
) -> ThingsSummary:
    from services.training.things import build_things
    from services.training.wordnet_source import find_wordnet

    common = CommonSettings()
    encoder = SentenceEncoder(common.models / "encoder", threads=0)
    wordnet = find_wordnet(common.home / "wordnet", source)
    with progress_bar("Encoding queries and titles") as advance:
        summary = build_things(
            folder,
            encoder=encoder,
            wordnet=wordnet,
            documents=documents,
            seed=seed,
            progress=advance,
        )
    return summary
