"""A start vector is what its parts add up to, of length 1."""

from __future__ import annotations

import numpy as np
import pytest

from shared.cold_start import start_parts

EMBEDDINGS = np.array([[1, 0], [0.6, 0.8]], dtype=np.float32)


def test_a_start_lies_between_and_has_length_one() -> None:
    parts = start_parts(EMBEDDINGS, np.array([[0, 3], [0, 0]], dtype=np.float32), 0.5)

    assert parts.start.dtype == np.float32
    assert parts.start[0] == pytest.approx([0.5**0.5, 0.5**0.5])
    assert parts.embeddings[0] == pytest.approx([0.5**0.5, 0])
    assert parts.queries[0] == pytest.approx([0, 0.5**0.5])


def test_without_synthetic_queries_a_document_keeps_its_embedding() -> None:
    parts = start_parts(EMBEDDINGS, np.zeros_like(EMBEDDINGS), 0.5)

    assert parts.start == pytest.approx(EMBEDDINGS)
    assert not parts.queries.any()


def test_queries_that_say_the_opposite_leave_a_number() -> None:
    parts = start_parts(EMBEDDINGS, -EMBEDDINGS, 0.5)

    assert np.isfinite(parts.start).all()


def test_nothing_or_all_of_the_queries() -> None:
    queries = np.array([[0, 2], [0, 2]], dtype=np.float32)

    assert start_parts(EMBEDDINGS, queries, 0.0).start == pytest.approx(EMBEDDINGS)
    assert start_parts(EMBEDDINGS, queries, 1.0).start == pytest.approx(queries / 2)
