"""A supervision in, a tuned encoder and one vector a document out: joint training from texts to a model."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from services.training.guard import ExposedSlice, GuardSettings
from services.training.joint import JointTraining, ProgressWithNote, read_lessons
from services.training.joint_guard import Trusted, trust
from services.training.joint_settings import JointSettings
from services.training.supervision import Supervision
from services.training.team import Team
from services.training.token_table import TokenTable
from shared.encoder_files import QUERY_TOKENS


@dataclass(frozen=True)
class JointModel:
    """What a joint training ended with."""

    source: Path
    training: JointTraining
    settings: JointSettings
    trusted: Trusted
    team: Team

    @property
    def classifiers(self) -> NDArray[np.float32]:
        """Return the classifiers, (documents, dimensions)."""
        vectors: NDArray[np.float32] = self.training.head.vectors.cpu().numpy()
        return vectors

    def embed(self, queries: Sequence[str]) -> NDArray[np.float32]:
        """Return (queries, dimensions) float32 unit vectors of the tuned encoder."""
        table = TokenTable(self.source, queries, QUERY_TOKENS, self.team.device)
        vectors: NDArray[np.float32] = self.training.embedded(table).cpu().numpy()
        return vectors

    def save(self, target: Path) -> None:
        """Write the tuned encoder as a folder like its source, with settings and losses; whole or not at all."""
        record = {
            "settings": asdict(self.settings),
            "step_share": self.trusted.step_share,
            "mixing_weight": self.trusted.mixing_weight,
            "losses": list(self.training.losses),
            "seconds": round(self.training.seconds, 1),
            "data_sha256": self.training.data_sha256,
        }
        self.training.encoder.save(self.source, target, json.dumps(record, indent=2) + "\n")


def train_jointly(
    source: Path,
    supervision: Supervision,
    documents: Sequence[str],
    settings: JointSettings,
    exposed: ExposedSlice,
    guard: GuardSettings,
    team: Team,
    *,
    checkpoint: Path | None = None,
    progress: ProgressWithNote | None = None,
) -> JointModel:
    """Train, and trust the training as far as the exposed slice says.

    Args:
        source: Hugging Face style folder of the encoder to start from.
        supervision: all that is learned from.
        documents: texts of its columns, as they are to be embedded.
        settings: what to train and how.
        exposed: uniformly exposed pairs of validation queries.
        guard: mixing weights to try.
        team: this process alone, or all that torchrun started.
        checkpoint: folder from which a killed run of the same input goes on.
        progress: told after every step.

    Raises:
        InvalidInput: nothing is labelled.
    """
    lessons = read_lessons(
        source, supervision.queries, supervision.labels, documents, settings, team.device
    )
    training = JointTraining(lessons, settings, team)
    if checkpoint is not None:
        training.resume(checkpoint)
    training.run(checkpoint, progress)
    exposed_queries = (
        TokenTable(source, exposed.queries, QUERY_TOKENS, team.device) if exposed.queries else None
    )
    trusted = trust(
        training, settings, lessons.documents, exposed_queries, exposed.documents, guard
    )
    return JointModel(source, training, settings, trusted, team)
