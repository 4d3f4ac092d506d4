"""How far a joint training may be trusted: chosen on the uniformly exposed slice, as mixing weights are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from services.training.guard import GuardSettings, choose, log_ranks, mix
from services.training.joint import JointTraining
from services.training.joint_settings import JointSettings
from services.training.token_table import TokenTable


@dataclass(frozen=True)
class Trusted:
    """What was chosen, and the documents under it."""

    step_share: float
    """Of the way that training led; encoder and classifiers stand there now."""
    mixing_weight: float
    """Share of the classifiers in `vectors`."""
    vectors: NDArray[np.float32]
    """(documents, dimensions); a query's score of a document is the inner product."""


def trust(
    training: JointTraining,
    settings: JointSettings,
    documents: TokenTable,
    exposed_queries: TokenTable | None,
    exposed: NDArray[np.int64],
    guard: GuardSettings,
) -> Trusted:
    """Choose share and mixing weight by the ranks of the exposed documents, and put the training there.

    Args:
        training: that has run.
        settings: its own; without a classifiers' loss the documents' embeddings are all there is.
        documents: all.
        exposed_queries: of the exposed pairs; None if there are none.
        exposed: (exposed pairs,) positions of their documents.
        guard: mixing weights to try, and what is clearly better.
    """
    default = (1.0, settings.mixing_weight if settings.classifier_weight else 0.0)
    weights: Sequence[float] = guard.candidates if settings.classifier_weight else (0.0,)
    chosen = default
    if exposed_queries is not None and len(exposed) >= guard.fewest_pairs:
        ranks: dict[tuple[float, float], NDArray[np.float64]] = {}
        for share in settings.step_shares:
            training.stand_at(share)
            described = _embedded(training, documents)
            asked = _embedded(training, exposed_queries)
            classifiers = training.head.vectors.cpu().numpy()
            for weight in {*weights, default[1]}:
                ranks[share, weight] = log_ranks(
                    mix(classifiers, described, weight), asked, exposed
                )
        chosen = choose(ranks, default, guard)
    share, weight = chosen
    training.stand_at(share)
    classifiers = training.head.vectors.cpu().numpy()
    return Trusted(share, weight, mix(classifiers, _embedded(training, documents), weight))


def _embedded(training: JointTraining, texts: TokenTable) -> NDArray[np.float32]:
    vectors: torch.Tensor = training.embedded(texts)
    return vectors.cpu().numpy()
