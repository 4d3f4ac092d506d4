"""What peers that classify queries into documents learn from: TF-IDF of texts, documents as labels.

Rows are the train queries with their clicks and, as in our training, each document's text with the document
as its answer. Words and pairs of words, and letters within words (3 to 5): test queries have words that no
train query has. Runs in the peers' environments (scikit-learn).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse as sp
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.pipeline import FeatureUnion

from loadtests.peers.retrieval.protocol import RetrievalJob


@dataclass(frozen=True)
class Features:
    """CSR matrices, float32."""

    train: Any
    """(rows, terms)"""
    labels: Any
    """(rows, documents), 1 where the document answers the row."""
    test: Any
    """(test queries, terms)"""


def features(job: RetrievalJob) -> Features:
    """Return what to train on and what is asked; the terms and their weights come from the rows alone."""
    texts = [*job.queries, *job.documents]
    vectorizer = FeatureUnion(
        [
            ("words", TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, dtype=np.float32)),
            (
                "letters",
                TfidfVectorizer(
                    analyzer="char_wb", ngram_range=(3, 5), sublinear_tf=True, dtype=np.float32
                ),
            ),
        ]
    )
    own = [(len(job.queries) + place, place) for place in range(len(job.documents))]
    rows, columns = np.array([*job.clicks, *own]).T
    labels = sp.csr_matrix(
        (np.ones(len(rows), dtype=np.float32), (rows, columns)),
        shape=(len(texts), len(job.documents)),
    )
    return Features(
        train=sp.csr_matrix(vectorizer.fit_transform(texts)),
        labels=labels,
        test=sp.csr_matrix(vectorizer.transform(job.test_queries)),
    )
