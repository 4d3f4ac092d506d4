import numpy as np
import pytest
import torch

from services.training.shortlist import NearestDocuments, SparseMomentum, draw_shortlist


def test_the_nearest_documents_of_all_queries_are_found_once() -> None:
    vectors = np.eye(5, dtype=np.float32)

    nearest = NearestDocuments(vectors).of(vectors[[1, 3, 3]] + 0.1 * vectors[[2, 2, 2]], 2)

    assert nearest.tolist() == [1, 2, 3]


def test_fewer_documents_than_asked_for_are_all_found() -> None:
    vectors = np.eye(3, dtype=np.float32)

    assert NearestDocuments(vectors).of(vectors[:1], 10).tolist() == [0, 1, 2]


def test_a_shortlist_stands_for_all_documents() -> None:
    near = np.array([3, 5, 90])

    shortlist = draw_shortlist(near, 100, 20, np.random.default_rng(0))

    assert set(near) <= set(shortlist.documents)
    assert (np.diff(shortlist.documents) > 0).all()
    assert len(shortlist.documents) <= 23
    assert shortlist.weights.sum() == pytest.approx(100)
    assert (shortlist.weights[np.isin(shortlist.documents, near)] == 1).all()


def test_a_shortlist_of_all_documents_weighs_them_alike() -> None:
    shortlist = draw_shortlist(np.array([1]), 10, 9, np.random.default_rng(0))

    assert shortlist.documents.tolist() == list(range(10))
    assert shortlist.weights.tolist() == [1.0] * 10


def test_a_row_left_out_is_where_steps_without_a_gradient_would_have_left_it() -> None:
    torch.manual_seed(0)
    initial, gradient = torch.randn(2, 3), torch.randn(2, 3)
    steady, lazy = (SparseMomentum(initial, momentum=0.9, pull=0.001) for _ in range(2))
    both = torch.arange(2)
    for optimizer in (steady, lazy):
        optimizer.step(both, gradient, 0.1)
    for _ in range(5):
        steady.step(both, torch.zeros(2, 3), 0.1)

    lazy.catch_up(both, 6, 0.1)

    torch.testing.assert_close(lazy.vectors, steady.vectors, atol=2e-4, rtol=0)
    assert (lazy.vectors - initial).norm() > 0.3
