"""Data sets whose validation queries play the test, so that nothing is chosen with a look at a test query."""

from __future__ import annotations

from dataclasses import replace

from shared.dataset import Dataset


def without_test(dataset: Dataset) -> Dataset:
    """Return the data set with its test queries gone and its validation queries in their place."""
    queries = [
        query.model_copy(update={"split": "test"}) if query.split == "validation" else query
        for query in dataset.queries
        if query.split != "test"
    ]
    return replace(dataset, queries=queries)
