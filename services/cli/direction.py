"""Which side of a pair has the metadata: documents (search, ads), or queries (say, a page's title and its categories).

The SLM reads the side that has it and writes texts of the other; these are mapped to what the other side
holds. So where queries have it, train queries take the place of documents and documents that of train queries, from the
SLM to Redis; labels are turned back where they leave the suite. Services know nothing of it (paper, section 3).
"""

from __future__ import annotations

from collections.abc import Container, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from pydantic import ValidationError

from shared.contracts.document import Document
from shared.contracts.mapping import TrainQuery
from shared.dataset import Dataset, Pairs, Query, read_dataset, read_documents, read_queries
from shared.errors import InvalidInput
from shared.settings import CommonSettings


def read_described(path: Path, common: CommonSettings) -> Iterator[Document]:
    """Yield what the SLM describes: a file of documents, or of queries, whose train queries are read as documents."""
    if common.metadata_side == "document":
        return read_documents(path)
    return (_document_of(query) for query in read_queries(path) if query.split == "train")


def read_mapped(folder: Path, common: CommonSettings, split: str | None = None) -> Dataset:
    """Read a data folder as the mapping sees it: turned round where queries have the metadata."""
    dataset = read_dataset(folder, split=split)
    return dataset if common.metadata_side == "document" else turned(dataset)


def read_train_queries(path: Path, common: CommonSettings) -> list[TrainQuery]:
    """Read what is mapped to: the train queries of a file, or of a file of documents their titles."""
    if common.metadata_side == "query":
        return [TrainQuery(id=each.id, text=each.title) for each in read_documents(path)]
    return [
        TrainQuery(id=each.id, text=each.text)
        for each in read_queries(path)
        if each.split == "train"
    ]


def turned(dataset: Dataset) -> Dataset:
    """Return train queries as documents, documents' titles as train queries, and their pairs turned round.

    Of queries that are held out nothing is left: neither text nor metadata may reach a prompt.
    """
    queries = dataset.queries_of("train")
    train = {query.id for query in queries}
    return replace(
        dataset,
        documents=[_document_of(query) for query in queries],
        queries=[Query(id=document.id, text=document.title) for document in dataset.documents],
        clicks=transposed(dataset.clicks, train),
        truth=transposed(dataset.truth, train),
        impressions=transposed(dataset.impressions, train),
        propensities={},
        exploration={},
    )


def labels_as_pairs(labels: Pairs, common: CommonSettings) -> Pairs:
    """Return the suite's labels as query id -> document id, whichever side it read."""
    return labels if common.metadata_side == "document" else transposed(labels)


def transposed(
    pairs: Mapping[str, Mapping[str, float]], rows: Container[str] | None = None
) -> Pairs:
    """Return the pairs with their sides exchanged, of these rows if any are named."""
    turned_pairs: Pairs = {}
    for row_id, row in pairs.items():
        if rows is None or row_id in rows:
            for column_id, value in row.items():
                turned_pairs.setdefault(column_id, {})[row_id] = value
    return turned_pairs


def _document_of(query: Query) -> Document:
    try:
        return Document(id=query.id, title=query.text, metadata=query.metadata)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise InvalidInput(
            f"query {query.id!r} cannot be read as a document: {where}: {first['msg']}"
        ) from error
