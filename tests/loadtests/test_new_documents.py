"""The ways of making a new document's vector are what their names say."""

from __future__ import annotations

import numpy as np
import pytest

from loadtests.new_documents import blend, drawn


def test_a_fifth_is_new_and_always_the_same() -> None:
    is_new = drawn(50)

    assert is_new.sum() == 10
    assert (is_new == drawn(50)).all()


def test_a_blend_has_length_one_and_lies_between() -> None:
    described = np.array([[1, 0]], dtype=np.float32)
    asked = np.array([[0, 1]], dtype=np.float32)

    half = blend(described, asked, 0.5)

    assert np.linalg.norm(half) == pytest.approx(1)
    assert half[0, 0] == pytest.approx(half[0, 1])
    assert blend(described, asked, 0) == pytest.approx(described)


def test_without_synthetic_queries_a_document_keeps_its_embedding() -> None:
    described = np.array([[0.6, 0.8]], dtype=np.float32)

    assert blend(described, np.zeros_like(described), 0.5) == pytest.approx(described)
