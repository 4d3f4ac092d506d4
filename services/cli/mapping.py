"""`skim mapping`: the index of train queries that synthetic queries are mapped to."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from services.cli import calibration
from services.cli import train_queries as train_query_commands
from services.cli.console import Advance, print_json, progress_bar
from services.cli.direction import read_mapped
from services.cli.generate import read_synthetic_queries
from services.cli.written import WRITTEN, find_written
from services.mapping.encoders import keep_encoders, open_encoder
from services.mapping.index_builder import build_index
from services.mapping.index_files import read_manifest
from services.mapping.segmented_graph import HnswParameters
from services.mapping.settings import MappingSettings
from shared.clients import MappingClient
from shared.dataset import Query
from shared.encoder import TextEncoder
from shared.errors import InvalidInput, Unavailable
from shared.settings import CommonSettings

app = typer.Typer(
    help="Make, calibrate and judge the mapping of synthetic queries to train queries."
)
app.command()(calibration.calibrate)
app.command()(calibration.evaluate)
app.command()(train_query_commands.put)
app.command()(train_query_commands.delete)


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
    queries: Annotated[
        Path | None,
        typer.Option(
            help="Synthetic queries, by which recall is measured and the search widened; the folder's if absent."
        ),
    ] = None,
) -> None:
    """Index the train queries of a data folder; a running mapping service takes the new index at once.

    Recall above tau is measured by synthetic queries; where there are none yet, by what lies between the train queries.
    """
    common = CommonSettings()
    train_queries = read_mapped(folder, common, split).queries_of("train")
    measured_by = queries or find_written(folder, WRITTEN)
    written = _texts_of(measured_by) if measured_by else []
    name = keep_encoders(common.models, common.mapping, encoders) if encoders else None
    encoder = open_encoder(common.models, common.mapping, name)
    with progress_bar("Indexing train queries") as advance:
        build_train_index(common, train_queries, encoder, advance, written)
    manifest = read_manifest(common.mapping)
    print_json(
        {
            "index": str(common.mapping),
            "train_queries": manifest.train_queries,
            "encoder": manifest.encoder,
            "recall_above_tau": manifest.recall_above_tau,
            "measured_by": str(measured_by) if measured_by else None,
            "ef": manifest.ef,
            "reloaded": reload(common),
        }
    )


def build_train_index(
    common: CommonSettings,
    queries: Sequence[Query],
    encoder: TextEncoder,
    advance: Advance,
    written: Sequence[str] = (),
) -> None:
    """Write the index that the mapping service loads; `written` are synthetic queries that measure its recall."""
    settings = MappingSettings()
    build_index(
        queries,
        encoder,
        common.mapping,
        advance,
        parameters=HnswParameters(settings.m, settings.ef_construction),
        written=written,
    )


def _texts_of(path: Path) -> list[str]:
    texts = [text for row in read_synthetic_queries(path) for text in row.queries]
    if not texts:
        raise InvalidInput(f"{path}: no synthetic query to measure recall by")
    return texts


def reload(common: CommonSettings) -> bool:
    """Let a running mapping service take the index on disk; False if none runs."""
    try:
        with MappingClient(common.mapping_url, attempts=1) as client:
            client.reload()
    except Unavailable:
        return False
    return True
