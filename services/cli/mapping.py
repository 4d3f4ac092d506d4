"""`skim mapping`: the index of train queries that synthetic queries are mapped to."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from services.cli import calibration
from services.cli.console import Advance, print_json, progress_bar
from services.mapping.index_builder import build_index
from services.mapping.settings import MappingSettings
from services.mapping.train_query_index import HnswParameters
from shared.clients import MappingClient
from shared.dataset import Query, read_dataset
from shared.encoder import SentenceEncoder
from shared.errors import Unavailable
from shared.settings import CommonSettings

app = typer.Typer(
    help="Make, calibrate and judge the mapping of synthetic queries to train queries."
)
app.command()(calibration.calibrate)
app.command()(calibration.evaluate)


@app.command()
def build(
    folder: Annotated[Path, typer.Argument(help="Data folder whose train queries are indexed.")],
    split: Annotated[str | None, typer.Option(help="Another split, of FOLDER/splits.")] = None,
) -> None:
    """Index the train queries of a data folder; a running mapping service takes the new index at once."""
    common = CommonSettings()
    queries = read_dataset(folder, split=split).queries_of("train")
    encoder = SentenceEncoder(common.models / "encoder")
    with progress_bar("Indexing train queries") as advance:
        build_train_index(common, queries, encoder, advance)
    print_json(
        {"index": str(common.mapping), "train_queries": len(queries), "reloaded": reload(common)}
    )


def build_train_index(
    common: CommonSettings, queries: Sequence[Query], encoder: SentenceEncoder, advance: Advance
) -> None:
    """Write the index that the mapping service loads."""
    settings = MappingSettings()
    build_index(
        queries,
        encoder,
        common.mapping,
        advance,
        parameters=HnswParameters(settings.m, settings.ef_construction),
    )


def reload(common: CommonSettings) -> bool:
    """Let a running mapping service take the index on disk; False if none runs."""
    try:
        with MappingClient(common.mapping_url, attempts=1) as client:
            client.reload()
    except Unavailable:
        return False
    return True
