"""`skim mapping`: make the index of train queries that synthetic queries are mapped to."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from services.cli.console import Advance, print_json, progress_bar
from services.mapping.index_builder import build_index
from services.mapping.mapper import QueryMapper
from services.mapping.settings import MappingSettings
from services.mapping.train_query_index import HnswParameters
from services.mapping.trust import Trust
from shared.clients import MappingClient
from shared.contracts.synthetic_queries import SyntheticQueries
from shared.dataset import Pairs, Query, read_dataset
from shared.encoder import SentenceEncoder
from shared.errors import Unavailable
from shared.settings import CommonSettings

_DOCUMENTS_PER_STEP = 64

app = typer.Typer(help="Make the index of train queries that synthetic queries are mapped to.")


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


def map_offline(
    rows: Sequence[SyntheticQueries],
    queries: Sequence[Query],
    encoder: SentenceEncoder,
    folder: Path,
    advance: Advance,
    *,
    min_similarity: float | None = None,
) -> Pairs:
    """Map synthetic queries in this process, as the service would; return query id -> document id -> cosine.

    Args:
        rows: documents with their synthetic queries.
        queries: the train queries.
        encoder: of both.
        folder: receives the index.
        advance: told after every few documents.
        min_similarity: tau; the setting if absent.
    """
    settings = MappingSettings()
    tau = settings.min_similarity if min_similarity is None else min_similarity
    index = build_index(queries, encoder, folder, lambda done, total: None)
    mapper = QueryMapper(
        encoder,
        index,
        trust=Trust.of(settings),
        min_similarity=tau,
        neighbours=settings.neighbours,
    )
    labels: Pairs = {}
    for start in range(0, len(rows), _DOCUMENTS_PER_STEP):
        for mapped in mapper.map(rows[start : start + _DOCUMENTS_PER_STEP]):
            for label in mapped.labels:
                labels.setdefault(label.query_id, {})[mapped.document_id] = label.similarity
        advance(min(start + _DOCUMENTS_PER_STEP, len(rows)), len(rows))
    return labels
