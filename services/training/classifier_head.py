"""All classifiers at once, for an encoder that learns beside them: gradients both ways, none of them kept."""

from __future__ import annotations

import torch

from services.training.classifiers import ClassifierSettings
from services.training.loss import Positives, binary_cross_entropy_gradient_


class ClassifierHead:
    """One vector a document, with its momentum and its pull towards the start.

    Args:
        initial: (documents, dimensions) float32; where the vectors start and what pulls them back.
        settings: the rate is one of batches of `settings.batch_size` and grows with the batch.
        queries: how many the training has; the pull is in queries.
        documents_at_once: bounds memory.
    """

    def __init__(
        self,
        initial: torch.Tensor,
        settings: ClassifierSettings,
        *,
        queries: int,
        documents_at_once: int,
    ) -> None:
        self.initial = initial
        self.vectors, self.velocity = initial.clone(), torch.zeros_like(initial)
        self._settings, self._pull = settings, settings.pull / queries
        self._documents_at_once = documents_at_once

    def gradients(
        self, embeddings: torch.Tensor, positives: Positives
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the gradients of the summed binary cross-entropy: of the embeddings, of the vectors.

        Args:
            embeddings: (queries, dimensions) float32.
            positives: their labels.
        """
        scale = self._settings.scale
        bias = embeddings.new_tensor(-scale * self._settings.threshold)
        of_embeddings = torch.zeros_like(embeddings)
        of_vectors = torch.empty_like(self.vectors)
        for start in range(0, len(self.vectors), self._documents_at_once):
            chunk = slice(start, min(start + self._documents_at_once, len(self.vectors)))
            vectors = self.vectors[chunk]
            logits = torch.addmm(bias, embeddings, vectors.T, alpha=scale)
            gradient = binary_cross_entropy_gradient_(logits, self._among(positives, chunk))
            of_embeddings.addmm_(gradient, vectors, alpha=scale)
            of_vectors[chunk] = scale * (gradient.T @ embeddings)
        return of_embeddings, of_vectors

    def step(self, gradient: torch.Tensor, queries: int, rate_factor: float) -> None:
        """Move the vectors against the gradient.

        Args:
            gradient: (documents, dimensions) of the loss summed over a batch.
            queries: of the batch.
            rate_factor: share of the learning rate at this step.
        """
        rate = self._settings.learning_rate * rate_factor * queries / self._settings.batch_size
        self.velocity.mul_(self._settings.momentum).add_(gradient, alpha=1 / queries)
        self.velocity.add_(self.vectors - self.initial, alpha=self._pull)
        self.vectors.add_(self.velocity, alpha=-rate)

    def _among(self, positives: Positives, chunk: slice) -> Positives:
        if chunk == slice(0, len(self.vectors)):
            return positives
        here = (positives.columns >= chunk.start) & (positives.columns < chunk.stop)
        return Positives(
            positives.rows[here],
            positives.columns[here] - chunk.start,
            positives.targets[here],
            positives.weights[here],
        )
