"""Data sets whose validation queries play the test, so that nothing is chosen with a look at a test query."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from services.cli.generate import read_synthetic_queries
from shared.contracts.synthetic_queries import SyntheticQueries
from shared.dataset import Dataset, read_dataset


def without_test(dataset: Dataset) -> Dataset:
    """Return the data set with its test queries gone and its validation queries in their place."""
    queries = [
        query.model_copy(update={"split": "test"}) if query.split == "validation" else query
        for query in dataset.queries
        if query.split != "test"
    ]
    return replace(dataset, queries=queries)


def read_without_test(folder: Path, written: Path) -> tuple[Dataset, Sequence[SyntheticQueries]]:
    """Return the data set of a folder as `without_test` does, and the synthetic queries in a file that are of its documents."""
    dataset = without_test(read_dataset(folder))
    known = {document.id for document in dataset.documents}
    return dataset, [row for row in read_synthetic_queries(written) if row.document_id in known]
