"""A label matrix on a device: the labels of a batch's queries, without a way back to the host."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from services.training.classifiers import LabelMatrix
from services.training.loss import Positives


@dataclass(frozen=True)
class Block:
    """The labels among a batch's queries and documents, all (queries, documents)."""

    is_positive: torch.Tensor
    targets: torch.Tensor
    weights: torch.Tensor


class DeviceLabels:
    """The labelled pairs of all queries.

    Args:
        labels: (queries, documents).
        device: where they are kept.
    """

    def __init__(self, labels: LabelMatrix, device: torch.device) -> None:
        self._device, self._documents = device, labels.targets.shape[1]
        self._indptr = labels.targets.indptr.astype(np.int64)
        self._columns = torch.from_numpy(labels.targets.indices.astype(np.int64)).to(device)
        self._targets = torch.from_numpy(labels.targets.data.astype(np.float32)).to(device)
        self._weights = torch.from_numpy(labels.weights.data.astype(np.float32)).to(device)

    def of(self, queries: NDArray[np.int64]) -> Positives:
        """Return the labels of these queries; a label's row is its query's place among them."""
        counts = self._indptr[queries + 1] - self._indptr[queries]
        rows = np.repeat(np.arange(len(queries)), counts)
        first = np.repeat(self._indptr[queries] - (np.cumsum(counts) - counts), counts)
        where = torch.from_numpy(first + np.arange(len(rows))).to(self._device)
        return Positives(
            rows=torch.from_numpy(rows).to(self._device),
            columns=self._columns[where],
            targets=self._targets[where],
            weights=self._weights[where],
        )

    def block(self, positives: Positives, queries: int, documents: NDArray[np.int64]) -> Block:
        """Return which of the labels are of these documents, each given once."""
        place = torch.full((self._documents,), len(documents), device=self._device)
        columns = torch.from_numpy(documents).to(self._device)
        place[columns] = torch.arange(len(documents), device=self._device)
        where = (positives.rows, place[positives.columns])  # others fall into a last column
        targets = torch.zeros((queries, len(documents) + 1), device=self._device)
        weights, is_positive = torch.zeros_like(targets), targets.bool()
        is_positive[where] = True
        targets[where], weights[where] = positives.targets, positives.weights
        return Block(is_positive[:, :-1], targets[:, :-1], weights[:, :-1])
