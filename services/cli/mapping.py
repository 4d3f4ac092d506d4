"""`skim mapping`: the index of train queries that synthetic queries are mapped to."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from services.cli import calibration, train_queries
from services.cli.console import Advance, print_json, progress_bar
from services.cli.direction import read_mapped
from services.mapping.encoders import keep_encoders, open_encoder
from services.mapping.index_builder import build_index
from services.mapping.index_files import read_manifest
from services.mapping.settings import MappingSettings
from services.mapping.train_query_index import HnswParameters
from shared.clients import MappingClient
from shared.dataset import Query
from shared.encoder import TextEncoder
from shared.errors import Unavailable
from shared.settings import CommonSettings

app = typer.Typer(
    help="Make, calibrate and judge the mapping of synthetic queries to train queries."
)
app.command()(calibration.calibrate)
app.command()(calibration.evaluate)
app.command()(train_queries.put)
app.command()(train_queries.delete)


@app.command()
def build(
    folder: Annotated[Path, typer.Argument(help="Data folder whose train queries are indexed.")],
    split: Annotated[str | None, typer.Option(help="Another split, of FOLDER/splits.")] = None,
    encoders: Annotated[
        list[Path] | None,
        typer.Option(
            "--encoder", help="Encoder folder, of a bundle say; two are two views, joined."
        ),
    ] = None,
) -> None:
    """Index the train queries of a data folder; a running mapping service takes the new index at once."""
    common = CommonSettings()
    queries = read_mapped(folder, common, split).queries_of("train")
    name = keep_encoders(common.models, common.mapping, encoders) if encoders else None
    encoder = open_encoder(common.models, common.mapping, name)
    with progress_bar("Indexing train queries") as advance:
        build_train_index(common, queries, encoder, advance)
    manifest = read_manifest(common.mapping)
    print_json(
        {
            "index": str(common.mapping),
            "train_queries": manifest.train_queries,
            "encoder": manifest.encoder,
            "recall_above_tau": manifest.recall_above_tau,
            "reloaded": reload(common),
        }
    )


def build_train_index(
    common: CommonSettings, queries: Sequence[Query], encoder: TextEncoder, advance: Advance
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
