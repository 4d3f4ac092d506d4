import numpy as np
import torch

from services.training.shortlist import NearestDocuments, SparseMomentum, draw_shortlist


def test_the_nearest_documents_of_all_queries_are_found_once() -> None:
    vectors = np.eye(5, dtype=np.float32)

    nearest = NearestDocuments(vectors).of(vectors[[1, 3, 3]] + 0.1 * vectors[[2, 2, 2]], 2)

    assert nearest.tolist() == [1, 2, 3]


def test_fewer_documents_than_asked_for_are_all_found() -> None:
    vectors = np.eye(3, dtype=np.float32)

    assert NearestDocuments(vectors).of(vectors[:1], 10).tolist() == [0, 1, 2]


def test_a_shortlist_holds_what_is_near_and_random_others() -> None:
    shortlist = draw_shortlist(np.array([3, 5, 90]), 100, 20, np.random.default_rng(0))

    assert {3, 5, 90} <= set(shortlist.tolist())
    assert 10 < len(shortlist) <= 23
    assert (np.diff(shortlist) > 0).all()


def test_no_more_documents_than_random_ones_are_all_on_it() -> None:
    shortlist = draw_shortlist(np.array([1]), 10, 10, np.random.default_rng(0))

    assert shortlist.tolist() == list(range(10))


def optimizers(pull: float) -> tuple[SparseMomentum, SparseMomentum, torch.Tensor]:
    torch.manual_seed(0)
    initial, gradient = torch.randn(2, 3), torch.randn(2, 3)
    steady, lazy = (SparseMomentum(initial, momentum=0.9, pull=pull) for _ in range(2))
    for optimizer in (steady, lazy):
        optimizer.step(torch.arange(2), gradient, 0.1)
    return steady, lazy, initial


def test_a_row_left_out_is_where_steps_without_a_gradient_would_have_left_it() -> None:
    steady, lazy, initial = optimizers(pull=0.0)
    for _ in range(5):
        steady.step(torch.arange(2), torch.zeros(2, 3), 0.1)

    lazy.catch_up(torch.arange(2), 6, 0.1)

    torch.testing.assert_close(lazy.vectors, steady.vectors)
    torch.testing.assert_close(lazy.velocity, steady.velocity)
    assert (lazy.vectors - initial).norm() > 0.3


def test_a_row_left_out_is_pulled_back_all_the_same() -> None:
    steady, lazy, initial = optimizers(pull=0.01)
    for _ in range(100):
        steady.step(torch.arange(2), torch.zeros(2, 3), 0.1)

    lazy.catch_up(torch.arange(2), 101, 0.1)

    left = (lazy.vectors - initial).norm() / (steady.vectors - initial).norm()
    assert 0.85 < left < 1.15
