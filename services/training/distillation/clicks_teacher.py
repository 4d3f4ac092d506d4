"""The click teacher: what train queries already found a document, instead of a large model's answers.

It costs nothing and knows only what the log has shown; `skim distill evaluate` says what that is worth.
"""

from __future__ import annotations

from collections.abc import Sequence

from services.training.distillation.teacher_data import Example
from shared.dataset import Dataset

MAX_QUERIES = 10


def click_examples(
    dataset: Dataset, *, min_queries: int = 2, max_queries: int = MAX_QUERIES
) -> list[Example]:
    """Return well-covered documents with the train queries clicked for them, most clicked queries first.

    Queries that found many documents come first, as a teacher goes from general to narrow; clicks of
    validation and test queries are never read.

    Args:
        dataset: documents, queries and clicks.
        min_queries: clicked train queries that make a document well covered.
        max_queries: how many of them are learned.
    """
    texts = {query.id: query.text for query in dataset.queries_of("train")}
    reach = {query_id: len(dataset.clicks.get(query_id, {})) for query_id in texts}
    clicked: dict[str, list[str]] = {}
    for query_id in sorted(texts, key=lambda query_id: (-reach[query_id], query_id)):
        for document_id in dataset.clicks.get(query_id, {}):
            clicked.setdefault(document_id, []).append(texts[query_id])
    return [
        Example(document, _distinct(clicked[document.id])[:max_queries])
        for document in dataset.documents
        if len(_distinct(clicked.get(document.id, ()))) >= min_queries
    ]


def _distinct(queries: Sequence[str]) -> list[str]:
    return list(dict.fromkeys(queries))
