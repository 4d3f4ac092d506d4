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
from services.training.classifiers import train_classifiers
from services.training.embeddings import CachedEncoder
from services.training.guard import GuardSettings, mix
from services.training.labels import Pairs
from services.training.measurement import Measurement
from services.training.supervision import supervise
from services.training.train import TrainSettings, embed_documents, embed_queries
from shared.ad_index import flat_index
from shared.cold_start import Tower
from shared.contracts.synthetic_queries import SyntheticQueries
from shared.dataset import Dataset, read_dataset
from shared.encoder_files import QUERY_TOKENS

_NEW_SHARE = 0.2
_NEAREST, _CLASSIFIERS_SHARES = 3, (0.25, 0.5)
_QUERIES_SHARES = (0.1, 0.2, 0.3, 0.5)
_START_SHARES = (0.0, 0.5)
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
    rows, labels = written.synthetic_queries, written.labels
    asked = mean_queries(dataset, rows, encoder)
    is_new = drawn(len(dataset.documents))
    table: list[dict[str, Value]] = []
    for tower in _TOWERS:
        described = embed_documents(dataset.documents, encoder, tower)
        for start in _START_SHARES:
            begun = blend(described, asked, start)
            every = np.zeros_like(is_new)
            ways = [
                ("all are trained", trained(dataset, labels, rows, begun, every, encoder)),
                *_ways(
                    trained(dataset, labels, rows, begun, is_new, encoder),
                    described,
                    asked,
                    is_new,
                ),
            ]
            for name, vectors in ways:
                row: dict[str, Value] = {
                    "documents as": "titles only" if tower == "title" else "titles + metadata",
                    "training starts from": "embeddings" if not start else _share(start),
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


def mean_queries(
    dataset: Dataset, rows: Sequence[SyntheticQueries], encoder: CachedEncoder
) -> Vectors:
    """Return (documents, dimensions) the mean of each one's synthetic queries, of length 1; 0 where there are none."""
    position = {document.id: place for place, document in enumerate(dataset.documents)}
    owners = [position[row.document_id] for row in rows for _ in row.queries]
    texts = [query for row in rows for query in row.queries]
    sums = np.zeros((len(position), encoder.dimensions), dtype=np.float32)
    np.add.at(sums, owners, encoder.encode(texts, max_tokens=QUERY_TOKENS))
    return _unit(sums)


def blend(described: Vectors, asked: Vectors, share: float) -> Vectors:
    """Return embeddings with so much of the mean query in them, of length 1."""
    return _unit((1 - share) * described + np.float32(share) * asked)


def trained(
    dataset: Dataset,
    labels: Pairs,
    rows: Sequence[SyntheticQueries],
    begun: Vectors,
    is_new: NDArray[np.bool_],
    encoder: CachedEncoder,
) -> Vectors:
    """Return what `skim train` makes of those that are not new, and where the others began."""
    old = np.flatnonzero(~is_new)
    seen = replace(dataset, documents=[dataset.documents[place] for place in old.tolist()])
    supervision = supervise(seen, labels, TrainSettings().labels, rows)
    queries = encoder.encode(supervision.queries, max_tokens=QUERY_TOKENS)
    classifiers = train_classifiers(
        queries, supervision.labels, begun[old], TrainSettings().classifiers
    )
    vectors = begun.copy()
    vectors[old] = mix(classifiers, begun[old], GuardSettings().default)
    return vectors


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
    vectors: Vectors, described: Vectors, asked: Vectors, is_new: NDArray[np.bool_]
) -> Iterator[tuple[str, Vectors]]:
    """Yield each way to make new documents' vectors, with all vectors."""

    def _with(new: Vectors) -> Vectors:
        made = vectors.copy()
        made[is_new] = new[is_new]
        return made

    yield "their embedding", _with(described)
    cosines = described @ described[~is_new].T
    nearest = np.argpartition(-cosines, _NEAREST, axis=1)[:, :_NEAREST]
    classifiers = vectors[~is_new][nearest].mean(axis=1)
    for share in _CLASSIFIERS_SHARES:
        mixed = (1 - share) * described + np.float32(share) * classifiers
        yield f"{share:.0%} of the {_NEAREST} nearest trained vectors", _with(mixed)
    for share in _QUERIES_SHARES:
        yield _share(share), _with(blend(described, asked, share))


def _share(share: float) -> str:
    return f"{share:.0%} mean synthetic query"


def _unit(vectors: Vectors) -> Vectors:
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    scaled: Vectors = (vectors / np.maximum(lengths, 1e-12)).astype(np.float32)
    return scaled


if __name__ == "__main__":
    main()
