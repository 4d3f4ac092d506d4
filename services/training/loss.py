"""The two losses: binary cross-entropy over all documents (its gradient), and decoupled softmax."""

from __future__ import annotations

from dataclasses import dataclass

import torch

_NEVER = -1e9  # as minus infinity, but a row of positives only keeps a finite gradient


@dataclass(frozen=True)
class Positives:
    """The labelled pairs of a batch; all other pairs are negatives of target 0 and weight 1.

    All four are (pairs,) tensors.
    """

    rows: torch.Tensor
    """int64; the query's row in the batch."""
    columns: torch.Tensor
    """int64; the document's column."""
    targets: torch.Tensor
    """float32 in [0, 1]."""
    weights: torch.Tensor
    """float32."""

    def to(self, device: torch.device) -> Positives:
        """Return the same on a device."""
        return Positives(
            self.rows.to(device),
            self.columns.to(device),
            self.targets.to(device),
            self.weights.to(device),
        )


def binary_cross_entropy_gradient_(logits: torch.Tensor, positives: Positives) -> torch.Tensor:
    """Turn logits into the gradient of the summed loss, in place: weight x (sigmoid - target).

    Args:
        logits: (queries, documents) float32; overwritten and returned, so that no second array of
            this size exists.
        positives: the labelled pairs, each at most once.
    """
    where = (positives.rows, positives.columns)
    probabilities = logits.sigmoid_()
    probabilities[where] = positives.weights * (probabilities[where] - positives.targets)
    return probabilities


def decoupled_softmax(
    similarities: torch.Tensor,
    is_positive: torch.Tensor,
    *,
    temperature: float,
    targets: torch.Tensor | None = None,
    weights: torch.Tensor | None = None,
) -> torch.Tensor:
    """Return the loss -log(e^p / (e^p + sum over the negatives of e^n)), mean over positive pairs.

    A query's other positives are in nobody's denominator, so they are not pushed apart (DEXML,
    Gupta et al. 2024). A soft target is the probability that the softmax shall reach: the loss is
    the cross-entropy between both, of which the formula above is the case of target 1.

    Args:
        similarities: (queries, documents) cosines.
        is_positive: (queries, documents) bool, at least one true.
        temperature: divides the cosines.
        targets: (queries, documents) in [0, 1], read where positive; 1 if absent.
        weights: (queries, documents), how much a positive pair's loss counts; 1 if absent.
    """
    logits, is_positive = similarities / temperature, is_positive.to(similarities.device)
    return _cross_entropy(logits, is_positive, is_positive, targets, weights, over=1)


def in_batch_softmax(
    similarities: torch.Tensor,
    is_positive: torch.Tensor,
    is_drawn: torch.Tensor,
    *,
    temperature: float,
    targets: torch.Tensor | None = None,
    weights: torch.Tensor | None = None,
) -> torch.Tensor:
    """Return the in-batch softmax loss of the drawn pairs, of a query's documents and of a document's queries.

    Both directions leave every known positive out of the negatives, drawn or not; the mean of both
    is returned. Arguments as of `decoupled_softmax`.

    Args:
        similarities: (queries, documents) cosines.
        is_positive: (queries, documents) bool, all known pairs.
        is_drawn: (queries, documents) bool, those the batch was made of.
        temperature: divides the cosines.
        targets: (queries, documents) in [0, 1].
        weights: (queries, documents).
    """
    logits = similarities / temperature
    is_positive, is_drawn = is_positive.to(logits.device), is_drawn.to(logits.device)
    of_documents, of_queries = (
        _cross_entropy(logits, is_positive, is_drawn, targets, weights, over=over)
        for over in (1, 0)
    )
    return (of_documents + of_queries) / 2


def _cross_entropy(
    logits: torch.Tensor,
    is_positive: torch.Tensor,
    chosen: torch.Tensor,
    targets: torch.Tensor | None,
    weights: torch.Tensor | None,
    *,
    over: int,
) -> torch.Tensor:
    """Return the mean over the chosen pairs; one without a negative along `over` has nothing to lose."""
    negatives = logits.masked_fill(is_positive, _NEVER).logsumexp(dim=over, keepdim=True)
    counted = chosen & ~is_positive.all(dim=over, keepdim=True)
    log_odds = (logits - negatives)[counted]
    ones = torch.ones_like(logits)
    targets, weights = (
        ones if given is None else given.to(logits.device) for given in (targets, weights)
    )
    losses = torch.nn.functional.binary_cross_entropy_with_logits(
        log_odds, targets[counted], weights[counted], reduction="sum"
    )
    return losses / chosen.sum()
