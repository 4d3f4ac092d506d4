"""What does int8 cost? `python -m loadtests.precision --json [--save] [--data FOLDER] [--source FOLDER]`.

Exports one encoder in 32-bit floats and in 8-bit integers, embeds a catalogue and its test queries with both, as they are
served (one text at a time), and compares: how far a text's vector moves, how many of the ten best ads stay, what recall of
the complete truth is lost (paired over queries, 95 % bootstrap interval), and what a query takes.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from loadtests import results
from services.training.encoder_export import Precision, export_encoder
from services.training.metrics import measure, paired_difference
from shared.ad_index import flat_index
from shared.dataset import Dataset, read_dataset
from shared.encoder import SentenceEncoder
from shared.errors import SkimError
from shared.settings import CommonSettings

_TOP, _MANY = 10, 100

Vectors = NDArray[np.float32]


@dataclass(frozen=True)
class _Embedded:
    """A catalogue and its queries as one encoder sees them."""

    encoder: str
    documents: Vectors
    queries: Vectors
    query_ms: NDArray[np.float64]
    """(queries,) what each took."""

    def ranked(self) -> NDArray[np.int64]:
        """Return (queries, 100) documents, best first, by comparing all."""
        return flat_index(self.documents).search(self.queries, _MANY)[1]


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print, and save where asked; 1 if an error of ours stopped it."""
    options = _options(arguments)
    try:
        figures = compare(options.source, read_dataset(options.data))
    except SkimError as error:
        print(f"loadtests.precision: {error}", file=sys.stderr)
        return 1
    print(json.dumps(figures) if options.json else results.markdown_table(figures))
    if options.save:
        results.save("precision", figures)
    return 0


def compare(source: Path, dataset: Dataset) -> dict[str, results.Value]:
    """Return what 8 bits change.

    Args:
        source: a Hugging Face style folder of the encoder.
        dataset: with the truth of its test queries.
    """
    queries = [query for query in dataset.queries_of("test") if dataset.truth.get(query.id)]
    titles, texts = [each.title for each in dataset.documents], [each.text for each in queries]
    full, small = (_embedded(source, kind, titles, texts) for kind in ("fp32", "int8"))
    truth = _truth(dataset, [query.id for query in queries])
    ranked = [each.ranked() for each in (full, small)]
    judged = [measure(each, truth, cutoffs=(_TOP, _MANY)) for each in ranked]
    drift = np.concatenate(
        [_drift(full.documents, small.documents), _drift(full.queries, small.queries)]
    )
    kept = [
        len(np.intersect1d(one, other)) / len(one)
        for one, other in zip(ranked[0][:, :_TOP], ranked[1][:, :_TOP], strict=True)
    ]
    figures: dict[str, results.Value] = {
        "encoder": small.encoder,
        "documents": len(titles),
        "queries": len(texts),
        "drift_mean": round(float(drift.mean()), 5),
        "drift_p99": round(float(np.percentile(drift, 99)), 5),
        "top_10_kept": round(float(np.mean(kept)), 4),
    }
    for k in (_TOP, _MANY):
        name = f"recall@{k}"
        lost = paired_difference(judged[0][name], judged[1][name])
        figures |= {
            f"recall_at_{k}_fp32": round(100 * judged[0][name].mean, 2),
            f"recall_at_{k}_int8": round(100 * judged[1][name].mean, 2),
            f"recall_at_{k}_lost_points": round(100 * lost.value, 2),
            f"recall_at_{k}_lost_points_low": round(100 * lost.low, 2),
            f"recall_at_{k}_lost_points_high": round(100 * lost.high, 2),
        }
    for name, each in (("fp32", full), ("int8", small)):
        figures[f"query_p50_ms_{name}"] = round(float(np.median(each.query_ms)), 3)
    return figures


def _embedded(
    source: Path, precision: Precision, titles: Sequence[str], queries: Sequence[str]
) -> _Embedded:
    with tempfile.TemporaryDirectory(prefix="skim-loadtest-") as scratch:
        export_encoder(source, Path(scratch) / "encoder", precision=precision)
        encoder = SentenceEncoder(Path(scratch) / "encoder")
    documents = encoder.encode(titles)
    vectors, milliseconds = [], []
    for query in queries:
        started = time.perf_counter()
        vectors.append(encoder.encode([query])[0])
        milliseconds.append((time.perf_counter() - started) * 1000)
    return _Embedded(encoder.name, documents, np.stack(vectors), np.array(milliseconds))


def _drift(one: Vectors, other: Vectors) -> NDArray[np.float32]:
    """Return (rows,) cosine distances of unit vectors."""
    distances: NDArray[np.float32] = 1 - np.einsum("nd,nd->n", one, other)
    return distances


def _truth(dataset: Dataset, query_ids: Sequence[str]) -> sp.csr_array:
    positions = {document.id: number for number, document in enumerate(dataset.documents)}
    pairs = [
        (row, positions[document_id], relevance)
        for row, query_id in enumerate(query_ids)
        for document_id, relevance in dataset.truth[query_id].items()
    ]
    rows, columns, values = zip(*pairs, strict=True)
    return sp.csr_array((values, (rows, columns)), shape=(len(query_ids), len(positions)))


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m loadtests.precision", description=__doc__)
    home = CommonSettings()
    parser.add_argument("--json", action="store_true", help="print one line of JSON")
    parser.add_argument(
        "--save", action="store_true", help="keep the figures in loadtests/results"
    )
    parser.add_argument(
        "--data", type=Path, default=home.data / "things", help="folder of documents and truth"
    )
    parser.add_argument(
        "--source",
        type=Path,
        default=home.models / "sources" / "all-minilm-l6-v2",
        help="folder of the encoder's weights",
    )
    return parser.parse_args(arguments)


if __name__ == "__main__":
    raise SystemExit(main())
