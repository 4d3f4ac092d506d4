import torch

from services.training.loss import (
    Positives,
    binary_cross_entropy_gradient_,
    decoupled_softmax,
    in_batch_softmax,
)


def test_the_gradient_is_that_of_the_summed_cross_entropy() -> None:
    torch.manual_seed(0)
    logits = torch.randn(4, 6, requires_grad=True)
    targets, weights = torch.zeros(4, 6), torch.ones(4, 6)
    targets[1, 2], targets[3, 0] = 1.0, 0.7
    weights[3, 0] = 0.25
    torch.nn.functional.binary_cross_entropy_with_logits(
        logits, targets, weights, reduction="sum"
    ).backward()

    gradient = binary_cross_entropy_gradient_(
        logits.detach().clone(),
        Positives(
            torch.tensor([1, 3]),
            torch.tensor([2, 0]),
            torch.tensor([1.0, 0.7]),
            torch.tensor([1.0, 0.25]),
        ),
    )

    torch.testing.assert_close(gradient, logits.grad)


def test_the_gradient_takes_the_place_of_the_logits() -> None:
    logits = torch.zeros(2, 2)
    none = torch.empty(0, dtype=torch.int64)

    gradient = binary_cross_entropy_gradient_(
        logits, Positives(none, none, torch.empty(0), torch.empty(0))
    )

    assert gradient.data_ptr() == logits.data_ptr()
    assert gradient.tolist() == [[0.5, 0.5], [0.5, 0.5]]


def test_decoupled_softmax_leaves_other_positives_out_of_the_denominator() -> None:
    similarities = torch.tensor([[0.9, 0.8, 0.1]])
    is_positive = torch.tensor([[True, True, False]])
    first, second = (
        -torch.log(
            torch.exp(torch.tensor(p))
            / (torch.exp(torch.tensor(p)) + torch.exp(torch.tensor(0.1)))
        )
        for p in (0.9, 0.8)
    )

    loss = decoupled_softmax(similarities, is_positive, temperature=1.0)

    torch.testing.assert_close(loss, (first + second) / 2)


def test_a_batch_of_positives_only_has_a_finite_gradient() -> None:
    similarities = torch.tensor([[0.9, 0.8]], requires_grad=True)

    decoupled_softmax(similarities, torch.tensor([[True, True]]), temperature=0.05).backward()

    assert similarities.grad is not None
    assert similarities.grad.abs().sum() == 0


def test_a_pair_whose_softmax_is_its_target_has_no_gradient() -> None:
    similarities = torch.tensor([[0.3, 0.1]], requires_grad=True)
    probability = torch.softmax(similarities.detach()[0], dim=0)[0].item()

    decoupled_softmax(
        similarities,
        torch.tensor([[True, False]]),
        temperature=1.0,
        targets=torch.tensor([[probability, 0.0]]),
    ).backward()

    assert similarities.grad is not None
    assert similarities.grad.abs().max() < 1e-6


def test_a_pairs_weight_multiplies_its_loss() -> None:
    similarities = torch.tensor([[0.3, 0.1]])
    is_positive = torch.tensor([[True, False]])
    full, half = (
        decoupled_softmax(
            similarities, is_positive, temperature=1.0, weights=torch.tensor([[weight, 1.0]])
        )
        for weight in (1.0, 0.5)
    )

    torch.testing.assert_close(half, full / 2)


def test_a_soft_label_without_a_negative_beside_it_has_no_gradient() -> None:
    similarities = torch.tensor([[0.9, 0.8]], requires_grad=True)

    decoupled_softmax(
        similarities,
        torch.tensor([[True, True]]),
        temperature=0.05,
        targets=torch.tensor([[0.5, 0.5]]),
    ).backward()

    assert similarities.grad is not None
    assert similarities.grad.abs().sum() == 0


def test_in_batch_softmax_asks_both_ways_and_leaves_known_positives_out() -> None:
    similarities = torch.tensor([[0.9, 0.8, 0.1], [0.2, 0.7, 0.3]])
    is_positive = torch.tensor([[True, True, False], [False, True, False]])
    is_drawn = torch.tensor([[True, False, False], [False, True, False]])
    e = torch.exp(similarities)
    of_documents = -torch.log(e[0, 0] / (e[0, 0] + e[0, 2])) - torch.log(
        e[1, 1] / (e[1, 1] + e[1, 0] + e[1, 2])
    )
    of_queries = -torch.log(e[0, 0] / (e[0, 0] + e[1, 0]))  # the other's column is positive only

    loss = in_batch_softmax(similarities, is_positive, is_drawn, temperature=1.0)

    torch.testing.assert_close(loss, (of_documents + of_queries) / 4)
