"""`skim labels matrix`: clicks and augmented labels as one matrix, for whatever extreme classifier trains on it."""

from __future__ import annotations

from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import typer

from services.cli.console import print_json
from shared.dataset import Dataset, Pairs, read_dataset, read_pairs, write_dataset
from shared.errors import Conflict, InvalidInput
from shared.formats.xc import write_xc


class MatrixFormat(StrEnum):
    """How it is written: a data folder of ours, or an XC repository folder with the matrix as text and `.npz`."""

    OURS = "ours"
    XC = "xc"


def matrix(
    folder: Annotated[Path, typer.Argument(help="Data folder: documents, queries, clicks.")],
    target: Annotated[Path, typer.Argument(help="Folder to write; must not exist.")],
    labels: Annotated[Path, typer.Option(help="Labels that `skim labels export` wrote.")],
    format: Annotated[MatrixFormat, typer.Option(help="Layout.")] = MatrixFormat.OURS,
    soft: Annotated[
        bool, typer.Option("--soft", help="A label's value is its similarity, a click's 1.")
    ] = False,
    split: Annotated[str | None, typer.Option(help="Another split, of FOLDER/splits.")] = None,
) -> None:
    """Write clicks + augmented labels, whole or not at all: rows are train queries, columns documents, both in file order.

    A pair that was clicked counts as the click. Renee, DEXML and PECOS read the XC layout.
    """
    if target.exists():
        raise Conflict(f"{target}: exists already; name another one")
    dataset = read_dataset(folder, split=split)
    augmented = augmented_dataset(dataset, read_pairs(labels, adds_up=False), soft=soft)
    write = write_xc if format is MatrixFormat.XC else write_dataset
    target.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=target.parent, prefix=f".{target.name}-") as scratch:
        write(Path(scratch) / target.name, augmented)
        (Path(scratch) / target.name).rename(target)
    clicks = sum(len(dataset.clicks.get(each.id, {})) for each in dataset.queries_of("train"))
    pairs = sum(len(augmented.clicks.get(each.id, {})) for each in dataset.queries_of("train"))
    print_json({"target": str(target), "clicks": clicks, "labels": pairs - clicks})


def augmented_dataset(dataset: Dataset, labels: Pairs, *, soft: bool = False) -> Dataset:
    """Return the data set with labels among its clicks.

    Args:
        dataset: stays as it is.
        labels: train query id -> document id -> similarity.
        soft: a label's value is its similarity (at least 0), else 1; a click's is 1 then, else its count.

    Raises:
        InvalidInput: a label of an unknown query or document, or of one that is held out.
    """
    splits = {query.id: query.split for query in dataset.queries}
    documents = {document.id for document in dataset.documents}
    clicks: Pairs = {
        query_id: {each: 1.0 if soft else count for each, count in row.items()}
        for query_id, row in dataset.clicks.items()
    }
    for query_id, row in labels.items():
        if splits.get(query_id) != "train":
            known = f"is of split {splits[query_id]}" if query_id in splits else "is unknown"
            raise InvalidInput(
                f"a label of query {query_id!r}, which {known}; expected a train query"
            )
        unknown = next((each for each in row if each not in documents), None)
        if unknown is not None:
            raise InvalidInput(f"a label of document {unknown!r}, which is unknown")
        of_query = clicks.setdefault(query_id, {})
        for each, similarity in row.items():
            of_query.setdefault(each, max(similarity, 0.0) if soft else 1.0)
    return replace(dataset, clicks=clicks)
