"""BM25 of bm25s over stemmed words of the documents: `python -m loadtests.peers.retrieval.bm25 FOLDER`.

It learns nothing from clicks.
"""

from __future__ import annotations

from collections.abc import Iterator

import bm25s
import Stemmer

from loadtests.peers.retrieval.protocol import RANKS, RetrievalJob, serve


def retrieve(job: RetrievalJob, threads: int) -> Iterator[list[int]]:
    """Yield the documents of each test query that share a word with it."""
    stemmer = Stemmer.Stemmer("english")
    index = bm25s.BM25()
    index.index(
        bm25s.tokenize(job.documents, stemmer=stemmer, show_progress=False), show_progress=False
    )
    asked = bm25s.tokenize(
        job.test_queries, stemmer=stemmer, return_ids=False, show_progress=False
    )
    for words in asked:
        known = [word for word in words if word in index.vocab_dict]
        if not known:
            yield []  # bm25s would rank documents of score 0
            continue
        ranked, scores = index.retrieve(
            [known], k=min(RANKS, len(job.documents)), show_progress=False, n_threads=0
        )
        yield ranked[0][scores[0] > 0].tolist()


if __name__ == "__main__":
    serve(retrieve, __doc__)
