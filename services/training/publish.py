"""A trained model becomes the served bundle."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from services.training.serving_facts import ServingFacts
from services.training.stamp import git_revision
from services.training.train import TrainedModel, flat_settings
from shared.bundle import write_bundle
from shared.contracts.document import Document
from shared.encoder import read_card
from shared.errors import InvalidInput


def bundle_model(
    model: TrainedModel,
    documents: Sequence[Document],
    encoder: Path,
    bundles: Path,
    *,
    facts: ServingFacts | None = None,
    metrics: Mapping[str, float] | None = None,
    version: str | None = None,
    max_index_bytes: int | None = None,
    notes: Mapping[str, str | int] | None = None,
) -> Path:
    """Write a bundle and return its folder; it is served once it is activated.

    Args:
        model: vectors in the order of `documents`.
        documents: what it was trained on; they become the ads.
        encoder: folder of the sentence encoder it was trained with.
        bundles: folder of all bundles.
        facts: what serving is told beside vectors.
        metrics: what an evaluation measured of this model's arm.
        version: names the bundle; made from time and content if absent.
        max_index_bytes: of the vectors in memory; above that 8 bits a number, if recall allows it.
        notes: what else the manifest's settings say (`shared.bundle.EVENTS_UNTIL`).

    Raises:
        InvalidInput: the model does not fit the documents or the encoder.
        Conflict: there is a bundle of that version.
    """
    card = read_card(encoder)
    if card.name != model.encoder:
        raise InvalidInput(f"the model was trained with {model.encoder}, {encoder} is {card.name}")
    return write_bundle(
        bundles,
        encoder=encoder,
        ads=documents,
        vectors=model.vectors,
        counts=model.counts,
        git_revision=git_revision(),
        settings=flat_settings(model.settings)
        | {"mixing_weight": model.mixing_weight}
        | dict(notes or {}),
        data_sha256=model.data_sha256,
        metrics=metrics,
        version=version,
        cold_start=model.cold_start,
        calibration=facts.calibration if facts else None,
        canaries=facts.canaries if facts else (),
        lessons=facts.lessons if facts else (),
        asked=facts.asked if facts else None,
        max_index_bytes=max_index_bytes,
    )
