"""XR-Linear of PECOS, a tree of linear classifiers: `python -m loadtests.peers.retrieval.pecos FOLDER`.

Labels are clustered by the features of their rows (PIFA) with hierarchical k-means, as PECOS proposes.
"""

from __future__ import annotations

from collections.abc import Iterator

from pecos.xmc import Indexer, LabelEmbeddingFactory
from pecos.xmc.xlinear.model import XLinearModel

from loadtests.peers.retrieval.features import features
from loadtests.peers.retrieval.protocol import RANKS, RetrievalJob, serve


def retrieve(job: RetrievalJob, threads: int) -> Iterator[list[int]]:
    """Yield the documents of each test query that the beam reached."""
    read = features(job)
    labels = read.labels.tocsc()
    clusters = Indexer.gen(
        LabelEmbeddingFactory.create(labels, read.train, method="pifa"), threads=threads, seed=0
    )
    model = XLinearModel.train(read.train, labels, C=clusters, threads=threads)
    scores = model.predict(read.test, beam_size=RANKS, only_topk=RANKS, threads=threads)
    for row in scores.tocsr():
        yield row.indices[(-row.data).argsort(kind="stable")].tolist()


if __name__ == "__main__":
    serve(retrieve, __doc__)
