"""`skim train --joint`: encoder and classifiers learn together, and the tuned encoder is the bundle's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from services.cli.console import progress_bar, progress_bar_with_note
from shared.contracts.synthetic_queries import SyntheticQueries
from shared.dataset import Dataset, Pairs
from shared.encoder import SentenceEncoder
from shared.settings import CommonSettings

if TYPE_CHECKING:
    from services.training.team import DeviceName
    from services.training.train import TrainedModel, TrainSettings


def train_encoder_and_classifiers(
    common: CommonSettings,
    dataset: Dataset,
    labels: Pairs,
    written: Sequence[SyntheticQueries],
    settings: TrainSettings,
    device: DeviceName,
    encoder: Path,
) -> TrainedModel | None:
    """Train, write the tuned encoder (int8 ONNX) to `encoder` and return the model that goes with it.

    Documents are embedded anew by what was written, so that they fit the queries of serving. Of the
    processes that torchrun started all but the leading one get None. A run that was killed goes on.

    Args:
        common: where the encoder to start from and the checkpoint are.
        dataset: only train queries are learned from.
        labels: to learn beside clicks.
        written: synthetic queries to learn as they are.
        settings: `settings.joint` is how.
        device: of the training.
        encoder: folder to write.
    """
    from services.training.embeddings import CachedEncoder
    from services.training.encoder_export import export_encoder
    from services.training.evaluation import exposed_slice
    from services.training.guard import mix
    from services.training.joint_model import train_jointly
    from services.training.model_sources import MINILM, fetch
    from services.training.supervision import supervise
    from services.training.team import joined_team
    from services.training.train import embed_documents, model_of
    from shared.cold_start import cold_start_of

    if settings.joint is None:
        raise ValueError("no settings of joint training")
    source = fetch(MINILM, common.models / "sources")
    supervision = supervise(dataset, labels, settings.labels, written)
    reading = cold_start_of(settings.tower)
    tuned = encoder.with_name("tuned")
    with joined_team(device) as team:
        with progress_bar_with_note(f"Training together ({team.device.type})") as advance:
            model = train_jointly(
                source,
                supervision,
                [reading.text_of(document) for document in dataset.documents],
                settings.joint,
                exposed_slice(dataset, settings),
                settings.guard,
                team,
                checkpoint=common.home / "run" / "joint",
                progress=advance,
            )
        if not team.leads:
            return None
        model.save(tuned)
    export_encoder(tuned, encoder)
    with progress_bar("Encoding documents") as advance_documents:
        described = embed_documents(
            dataset.documents,
            CachedEncoder(SentenceEncoder(encoder, threads=0)),
            settings.tower,
            advance_documents,
        )
    weight = model.trusted.mixing_weight
    return model_of(
        dataset.documents,
        supervision,
        mix(model.classifiers, described, weight),
        weight,
        replace(settings, queries_share=0.0),  # it begins from embeddings
        SentenceEncoder(encoder).name,
        reading,
    )
