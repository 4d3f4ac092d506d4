"""What a document's vector should be before any training saw it: `python -m loadtests.new_documents --data FOLDER --save`.

A fifth of the documents, drawn at random, is held out of training and then added with a vector made in each of several ways. Validation queries
play the test, and the test queries are thrown away first. `start` says what training itself begins from.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from loadtests.mapped import mapped
from loadtests.results import Value, save
from loadtests.validation import without_test
from services.cli.generate import read_synthetic_queries
from services.cli.models import SHIPPED
from services.training.embeddings import CachedEncoder
from services.training.measurement import Measurement
from services.training.sources import Written
from services.training.supervision import supervise
from services.training.train import (
    TrainedModel,
    TrainSettings,
    embed_documents,
    embed_queries,
    train,
)
from shared.ad_index import flat_index
from shared.cold_start import Tower, start_parts
from shared.contracts.synthetic_queries import SyntheticQueries
from shared.dataset import Dataset, read_dataset
from shared.encoder_files import QUERY_TOKENS

_NEW_SHARE = 0.2
_NEAREST, _CLASSIFIERS_SHARES = 3, (0.25, 0.5)
_START_SHARES = (0.0, 0.5, 0.65, 0.8)
_CUTOFFS = (10, 100)
_TOWERS: Sequence[Tower] = ("title", "metadata")
Vectors = NDArray[np.float32]


def main() -> None:
    """Measure, print the rows, save them if told to."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder of `skim data things`")
    parser.add_argument("--save", action="store_true")
    options = parser.parse_args()
    rows = list(read_synthetic_queries(SHIPPED / "synthetic_queries.jsonl.xz"))
    table = measure(without_test(read_dataset(options.data)), rows)
    if options.save:
        command = f"python -m loadtests.new_documents --data {options.data.name} --save"
        save("new-documents", table, command=command)
    print(json.dumps(table))


def measure(dataset: Dataset, rows: Sequence[SyntheticQueries]) -> list[dict[str, Value]]:
    """Return a row a tower, start of the training and way to make a new document's vector."""
    encoder, written = mapped(dataset, rows)
    is_new = drawn(len(dataset.documents))
    none = np.zeros_like(is_new)
    table: list[dict[str, Value]] = []
    for tower in _TOWERS:
        for share in _START_SHARES:
            settings = TrainSettings(tower=tower, queries_share=share)
            every = trained(dataset, written, none, encoder, settings)
            ways = [
                ("all are trained", every.vectors),
                *_ways(dataset, written, is_new, encoder, settings),
            ]
            for name, vectors in ways:
                row: dict[str, Value] = {
                    "documents as": "titles only" if tower == "title" else "titles + metadata",
                    "training starts from": (
                        f"{share:.0%} mean synthetic query" if share else "embeddings"
                    ),
                    "new documents have": name,
                }
                table.append(row | recalls(dataset, vectors, is_new, encoder))
    return table


def drawn(documents: int) -> NDArray[np.bool_]:
    """Return which documents are new."""
    is_new = np.zeros(documents, dtype=np.bool_)
    order = np.random.default_rng(0).permutation(documents)
    is_new[order[: round(_NEW_SHARE * documents)]] = True
    return is_new


def trained(
    dataset: Dataset,
    written: Written,
    is_new: NDArray[np.bool_],
    encoder: CachedEncoder,
    settings: TrainSettings,
) -> TrainedModel:
    """Return what `skim train` makes of those that are not new."""
    old = np.flatnonzero(~is_new).tolist()
    seen = replace(dataset, documents=[dataset.documents[place] for place in old])
    supervision = supervise(seen, written.labels, settings.labels, written.synthetic_queries)
    return train(seen.documents, supervision, encoder, settings)


def recalls(
    dataset: Dataset, vectors: Vectors, is_new: NDArray[np.bool_], encoder: CachedEncoder
) -> dict[str, Value]:
    """Return recall in percent: of all documents, of the new ones, and of the others."""
    row: dict[str, Value] = {}
    for name, is_counted in (("all", is_new | True), ("new", is_new), ("others", ~is_new)):
        counted = {
            document.id
            for document, counts in zip(dataset.documents, is_counted, strict=True)
            if counts
        }
        truth = {
            query: {each: value for each, value in found.items() if each in counted}
            for query, found in dataset.truth.items()
        }
        measurement = Measurement(replace(dataset, truth=truth))
        queries = embed_queries(measurement.queries, encoder)
        ranked = flat_index(vectors).search(queries, max(_CUTOFFS))[1]
        measured = measurement.of(ranked)
        row |= {
            f"{name} R@{cutoff}": round(100 * measured[f"recall@{cutoff}"].mean, 1)
            for cutoff in _CUTOFFS
        }
    return row


def _ways(
    dataset: Dataset,
    written: Written,
    is_new: NDArray[np.bool_],
    encoder: CachedEncoder,
    settings: TrainSettings,
) -> Iterator[tuple[str, Vectors]]:
    """Yield each way to make new documents' vectors, with all vectors."""
    model = trained(dataset, written, is_new, encoder, settings)
    described = embed_documents(dataset.documents, encoder, settings.tower)[is_new]

    def _with(new: Vectors) -> Vectors:
        vectors = np.empty((len(is_new), encoder.dimensions), dtype=np.float32)
        vectors[~is_new], vectors[is_new] = model.vectors, new
        return vectors

    yield "their embedding", _with(described)
    known = embed_documents(dataset.documents, encoder, settings.tower)[~is_new]
    nearest = np.argpartition(-described @ known.T, _NEAREST, axis=1)[:, :_NEAREST]
    classifiers = model.vectors[nearest].mean(axis=1)
    for share in _CLASSIFIERS_SHARES:
        mixed = (1 - share) * described + np.float32(share) * classifiers
        yield f"{share:.0%} of the {_NEAREST} nearest trained vectors", _with(mixed)
    if settings.queries_share:
        asked = summed_queries(dataset, written.synthetic_queries, encoder)[is_new]
        start = start_parts(described, asked, settings.queries_share).start
        yield "such a start", _with(start)
        shift = np.array(model.cold_start.shift, dtype=np.float32)
        yield "such a start, moved as training moved the others", _with(start + shift)


def summed_queries(
    dataset: Dataset, rows: Sequence[SyntheticQueries], encoder: CachedEncoder
) -> Vectors:
    """Return (documents, dimensions) the sum of each one's synthetic queries; 0 where there are none."""
    position = {document.id: place for place, document in enumerate(dataset.documents)}
    owners = [position[row.document_id] for row in rows for _ in row.queries]
    texts = [query for row in rows for query in row.queries]
    sums = np.zeros((len(position), encoder.dimensions), dtype=np.float32)
    np.add.at(sums, owners, encoder.encode(texts, max_tokens=QUERY_TOKENS))
    return sums


if __name__ == "__main__":
    main()
