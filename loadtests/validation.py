"""Data sets whose validation queries play the test, so that nothing is chosen with a look at a test query."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from loadtests.results import Value
from services.cli.generate import read_synthetic_queries
from services.cli.offline_mapping import map_offline
from services.training.embeddings import CachedEncoder
from services.training.evaluation import SECTIONS, EvaluationResult
from services.training.sources import Sources, Written, gather
from services.training.train import embed_documents
from shared.cold_start import Tower
from shared.contracts.synthetic_queries import SyntheticQueries
from shared.dataset import Dataset, Pairs, read_dataset
from shared.encoder import SentenceEncoder
from shared.settings import CommonSettings


def without_test(dataset: Dataset) -> Dataset:
    """Return the data set with its test queries gone and its validation queries in their place."""
    queries = [
        query.model_copy(update={"split": "test"}) if query.split == "validation" else query
        for query in dataset.queries
        if query.split != "test"
    ]
    return replace(dataset, queries=queries)


@dataclass(frozen=True)
class Bench:
    """What models may learn from, and be judged with: no test query is in any of it."""

    dataset: Dataset
    rows: Sequence[SyntheticQueries]
    """Of the data set's documents."""
    labels: Pairs
    """What these lead to."""
    encoder: CachedEncoder
    sources: Mapping[Tower, Sources]


def bench_of(folder: Path, written: Path) -> Bench:
    """Return the bench of a data folder and a file of synthetic queries, which are mapped as the suite maps them."""
    dataset = without_test(read_dataset(folder))
    known = {document.id for document in dataset.documents}
    rows = [row for row in read_synthetic_queries(written) if row.document_id in known]
    model, queries = CommonSettings().models / "encoder", dataset.queries_of("train")
    with tempfile.TemporaryDirectory() as scratch:
        mapper = SentenceEncoder(model)
        labels = map_offline(rows, queries, mapper, Path(scratch), lambda done, total: None)
    encoder = CachedEncoder(SentenceEncoder(model, threads=0))
    sources = {
        tower: gather(
            dataset,
            embed_documents(dataset.documents, encoder, tower),
            written=Written(rows, labels),
        )
        for tower in SECTIONS
    }
    return Bench(dataset, rows, labels, encoder, sources)


def recalls_of(result: EvaluationResult, arm: str) -> dict[str, Value]:
    """Return recall@10 and @100 of an arm for each tower, in percent."""
    return {
        f"{tower} R@{k}": round(100 * result.rows[section][arm][f"recall_at_{k}"], 1)
        for tower, section in SECTIONS.items()
        for k in (10, 100)
    }
