"""The ways of making a new document's vector are what their names say."""

from __future__ import annotations

import numpy as np
import pytest

from loadtests.new_documents import drawn, summed_queries
from services.training.embeddings import CachedEncoder
from shared.contracts.document import Document
from shared.contracts.synthetic_queries import SyntheticQueries
from shared.dataset import Dataset
from tests.support.encoders import BagOfWordsEncoder


def test_a_fifth_is_new_and_always_the_same() -> None:
    is_new = drawn(50)

    assert is_new.sum() == 10
    assert (is_new == drawn(50)).all()


def test_queries_are_summed_for_the_document_they_were_written_for() -> None:
    encoder = CachedEncoder(BagOfWordsEncoder())
    dataset = Dataset([Document(id=name, title=name) for name in ("red", "none")], [], {}, {})
    rows = [SyntheticQueries(document_id="red", queries=["wine", "boat"])]

    sums = summed_queries(dataset, rows, encoder)

    assert sums[0] == pytest.approx(encoder.encode(["wine", "boat"], max_tokens=32).sum(axis=0))
    assert not np.any(sums[1])
