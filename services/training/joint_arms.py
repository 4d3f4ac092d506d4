"""Arms whose encoder learns: a dual encoder, or encoder and classifiers together, as one ranking each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from services.training.arms import Kind
from services.training.classifiers import Progress
from services.training.guard import ExposedSlice, GuardSettings
from services.training.joint_settings import JointSettings, settings_for
from services.training.model_sources import sha256_of
from services.training.supervision import Supervision
from services.training.team import DeviceName, joined_team, uses_cuda
from shared.ad_index import flat_index
from shared.cold_start import Tower, cold_start_of
from shared.contracts.document import Document

_TRAINED_BY = (
    "classifier_head.py", "device_labels.py", "guard.py", "joint.py", "joint_guard.py", "loss.py",
    "query_batches.py", "siamese.py", "token_table.py",
)  # fmt: skip
"""Modules whose change makes another model of the same data."""


@dataclass(frozen=True)
class Learner:
    """What trains encoders: the same for all arms.

    Args:
        source: Hugging Face style folder of the encoder to start from.
        device: where it trains.
        settings: of the joint training, the device's if absent; a dual encoder leaves the classifiers out.
    """

    source: Path
    device: DeviceName = "auto"
    settings: JointSettings | None = None

    def settings_of(self, kind: Kind, tower: Tower) -> JointSettings:
        """Return how a kind of model is trained."""
        settings = self.settings or settings_for(cuda=uses_cuda(self.device))
        settings = replace(settings, document_tokens=cold_start_of(tower).max_tokens)
        return replace(settings, classifier_weight=0.0) if kind == "dual_encoder" else settings

    def identity(self, kind: Kind, tower: Tower) -> Mapping[str, Any]:
        """Return all that decides the model beside the data, as JSON holds it."""
        return {
            "weights": sha256_of(self.source / "model.safetensors"),
            "settings": asdict(self.settings_of(kind, tower)),
            "modules": [(Path(__file__).parent / name).read_text() for name in _TRAINED_BY],
        }

    def rank(
        self,
        kind: Kind,
        tower: Tower,
        documents: Sequence[Document],
        supervision: Supervision,
        exposed: ExposedSlice,
        guard: GuardSettings,
        queries: Sequence[str],
        ranks: int,
        progress: Progress,
    ) -> tuple[NDArray[np.int64], float]:
        """Train, and return (queries, ranks) positions of documents and the mixing weight."""
        from services.training.joint_model import train_jointly

        reading = cold_start_of(tower)
        with joined_team(self.device) as team:
            model = train_jointly(
                self.source,
                supervision,
                [reading.text_of(document) for document in documents],
                self.settings_of(kind, tower),
                exposed,
                guard,
                team,
                progress=lambda done, total, note: progress(done, total),
            )
            asked = model.embed(queries)
        found = flat_index(model.trusted.vectors).search(asked, ranks)[1]
        return found, model.trusted.mixing_weight
