"""Hyper-parameters of joint training; apart, since what trains imports much more."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from services.training.classifiers import ClassifierSettings
from shared.encoder_files import DESCRIPTION_TOKENS


@dataclass(frozen=True)
class JointSettings:
    """Hyper-parameters of encoder and classifiers together."""

    pairs_seen: int = 400_000
    """Pairs learned from in all epochs: as many of few queries as of many."""
    batch_size: int = 1_024
    """Pairs of a batch, over all processes."""
    max_pairs_per_query: int = 8
    """Pairs of one query in an epoch: broad queries would drown the others."""
    learning_rate: float = 5e-5
    """Of the encoder."""
    weight_decay: float = 0.01
    warmup_share: float = 0.1
    temperature: float = 0.05
    tower_weight: float = 1.0
    """What the two towers' loss counts, a mean over pairs."""
    classifier_weight: float = 1.0
    """What the classifiers' loss counts for the encoder, a mean over queries. 0 trains a dual encoder, and
    no classifiers."""
    guard_strength: float = 0.0
    """Holds embeddings near their start: times the mean of 1 - cosine, in the loss."""
    classifiers: ClassifierSettings = field(default_factory=ClassifierSettings)
    """Scale, threshold, pull, momentum, and the rate at batches of its own size."""
    document_tokens: int = DESCRIPTION_TOKENS
    """As many as are read of a document; of a query `QUERY_TOKENS`."""
    cluster_size: int = 16
    """Similar queries that share a batch; 0 leaves all batches random."""
    cluster_epochs: int = 2
    """Epochs after which the clusters are made anew."""
    random_share: float = 0.5
    """Share of the queries that are batched at random all the same."""
    documents_at_once: int = 65_536
    """Classifiers whose logits exist at a time: bounds memory, and changes no result."""
    step_shares: tuple[float, ...] = (0.5, 0.75, 1.0)
    """How much of the way that training led may be gone; chosen on the exposed slice, all of it without one."""
    mixing_weight: float = 0.5
    """Share of the classifiers in the documents' vectors where the exposed slice is too small to choose."""
    checkpoint_steps: int = 100
    seed: int = 0

    @property
    def steps(self) -> int:
        """Return how many steps are taken."""
        return math.ceil(self.pairs_seen / self.batch_size)


SHORT_SCHEDULE = JointSettings(pairs_seen=25_600, batch_size=64, learning_rate=1e-4)
"""For a CPU, where a step of one such batch takes about a second; the defaults above are a GPU's."""


def settings_for(*, cuda: bool) -> JointSettings:
    """Return the schedule that a device can afford."""
    return JointSettings() if cuda else SHORT_SCHEDULE
