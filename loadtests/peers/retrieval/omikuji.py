"""Parabel-style trees of omikuji with its defaults: `python -m loadtests.peers.retrieval.omikuji FOLDER`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import omikuji

from loadtests.peers.retrieval.features import Features, features
from loadtests.peers.retrieval.protocol import RANKS, RetrievalJob, serve


def retrieve(job: RetrievalJob, threads: int) -> Iterator[list[int]]:
    """Yield the documents of each test query that the beam reached."""
    read = features(job)
    with TemporaryDirectory() as scratch:
        data = Path(scratch) / "train.txt"
        _write(read, data)
        model = omikuji.Model.train_on_data(str(data), n_threads=threads)
    model.init_prediction_thread_pool(threads)
    for row in read.test:
        values = list(zip(row.indices.tolist(), row.data.tolist(), strict=True))
        found = model.predict(values, beam_size=RANKS, top_k=RANKS)
        yield [document for document, _ in found]


def _write(read: Features, path: Path) -> None:
    """Write rows in the format of the extreme classification repository."""
    with path.open("w") as out:
        out.write(f"{read.train.shape[0]} {read.train.shape[1]} {read.labels.shape[1]}\n")
        for texts, labels in zip(read.train, read.labels, strict=True):
            answers = ",".join(map(str, labels.indices))
            terms = (
                f"{term}:{value:.6g}"
                for term, value in zip(texts.indices, texts.data, strict=True)
            )
            out.write(f"{answers} {' '.join(terms)}\n")


if __name__ == "__main__":
    serve(retrieve, __doc__)
