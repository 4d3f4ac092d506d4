"""`skim gaps`: what a click log never showed, and what augmentation reaches of it."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import numpy as np
import typer
from numpy.typing import NDArray

from services.cli.console import Advance, out, print_json, progress_bar
from services.cli.direction import read_mapped
from services.cli.generate import read_synthetic_queries
from services.mapping.index_builder import build_index
from services.mapping.settings import MappingSettings
from services.mapping.trust import Trust
from shared.contracts.synthetic_queries import SyntheticQueries
from shared.dataset import Dataset, Pairs, Query
from shared.encoder import SentenceEncoder
from shared.settings import CommonSettings

if TYPE_CHECKING:
    from shared.report_page.gap_figures import KnowledgeGaps

_TEXTS_PER_STEP = 512


def gaps_command(
    folder: Annotated[Path, typer.Argument(help="Data folder: documents, queries, clicks.")],
    queries: Annotated[Path, typer.Option(help="Synthetic queries that `skim generate` wrote.")],
    min_similarity: Annotated[
        float | None, typer.Option(min=-1, max=1, help="tau, a cosine; mapping's own if absent.")
    ] = None,
    split: Annotated[str | None, typer.Option(help="Another split, of FOLDER/splits.")] = None,
    as_json_line: Annotated[bool, typer.Option("--json", help="Print one line of JSON.")] = False,
) -> None:
    """Show what the click log never showed and augmentation reached, what it missed, and its hubs."""
    from services.training.report_page.terminal import terminal_tables
    from services.training.stamp import stamp
    from shared.report_page.gap_tables import gap_tables

    common = CommonSettings()
    dataset = read_mapped(folder, common, split)
    encoder = SentenceEncoder(common.models / "encoder")
    tau = MappingSettings().min_similarity if min_similarity is None else min_similarity
    with progress_bar("Mapping synthetic queries") as advance:
        gaps = gaps_of(dataset, list(read_synthetic_queries(queries)), encoder, tau, advance)
    gaps = gaps.model_copy(update={"stamp": stamp(" ".join(["skim", *sys.argv[1:]]))})
    if as_json_line:
        print_json(gaps.model_dump(mode="json"))
        return
    for table in terminal_tables(gap_tables(gaps)):
        out.print(table)


def gaps_of(
    dataset: Dataset,
    rows: Sequence[SyntheticQueries],
    encoder: SentenceEncoder,
    min_similarity: float,
    advance: Advance,
) -> KnowledgeGaps:
    """Map synthetic queries to the train queries, as the service would, and look for gaps.

    Args:
        dataset: the data folder; only train queries are read.
        rows: documents with their synthetic queries; those of unknown documents are left out, and so
            are queries that the mapping does not trust: what the SLM hardly believes shows no demand.
        encoder: of both kinds of queries.
        min_similarity: tau, as a cosine.
        advance: told after every few synthetic queries.
    """
    from services.training.knowledge_gaps import EmbeddedQueries, find_gaps

    known = {document.id for document in dataset.documents}
    train_queries = dataset.queries_of("train")
    settings = MappingSettings()
    trust = Trust.of(settings)
    rows = [
        SyntheticQueries(document_id=row.document_id, queries=trust.trusted(row))
        for row in rows
        if row.document_id in known
    ]
    with tempfile.TemporaryDirectory() as scratch:
        index = build_index(train_queries, encoder, Path(scratch), lambda done, total: None)
    texts = list(dict.fromkeys(text for row in rows for text in row.queries))
    vectors = _encoded(encoder, texts, advance)
    positions, cosines = index.search(vectors, settings.neighbours)
    return find_gaps(
        dataset,
        _labels(rows, texts, positions, cosines, train_queries, min_similarity),
        rows,
        EmbeddedQueries(texts, vectors, cosines[:, 0]),
        _encoded(encoder, [query.text for query in train_queries], lambda done, total: None),
        min_similarity=min_similarity,
    )


def _encoded(
    encoder: SentenceEncoder, texts: Sequence[str], advance: Advance
) -> NDArray[np.float32]:
    """Encode text by text, as mapping does, so that the same labels come out."""
    vectors = np.empty((len(texts), encoder.dimensions), dtype=np.float32)
    for start in range(0, len(texts), _TEXTS_PER_STEP):
        step = texts[start : start + _TEXTS_PER_STEP]
        vectors[start : start + len(step)] = encoder.encode(step)
        advance(start + len(step), len(texts))
    return vectors


def _labels(
    rows: Iterable[SyntheticQueries],
    texts: Sequence[str],
    positions: NDArray[np.int64],
    cosines: NDArray[np.float32],
    queries: Sequence[Query],
    min_similarity: float,
) -> Pairs:
    """Return each document's train queries at or above tau, with the best cosine of its texts."""
    place = {text: row for row, text in enumerate(texts)}
    labels: Pairs = {}
    for row in rows:
        for text in row.queries:
            reached = zip(
                positions[place[text]].tolist(), cosines[place[text]].tolist(), strict=True
            )
            for position, cosine in reached:
                if cosine >= min_similarity:
                    of_query = labels.setdefault(queries[position].id, {})
                    of_query[row.document_id] = max(of_query.get(row.document_id, -1.0), cosine)
    return labels
