from dataclasses import replace
from pathlib import Path

import pytest

from services.training.embeddings import CachedEncoder
from services.training.publish import bundle_model
from services.training.supervision import supervise
from services.training.train import TrainedModel, TrainSettings, train
from shared.bundle import current, open_bundle
from shared.dataset import Dataset
from shared.encoder import EncoderCard
from shared.errors import InvalidInput, NotFound


@pytest.fixture
def model(dataset: Dataset, encoder: CachedEncoder) -> TrainedModel:
    settings = TrainSettings(tower="title")
    return train(dataset.documents, supervise(dataset, {}, settings.labels), encoder, settings)


@pytest.fixture
def encoder_folder(tmp_path: Path) -> Path:
    folder = tmp_path / "encoder"
    folder.mkdir()
    card = EncoderCard(name="words-1", dimensions=64, precision="fp32", source="words")
    (folder / "encoder.json").write_text(card.model_dump_json())
    return folder


def test_a_bundle_holds_the_model_and_is_not_served_yet(
    dataset: Dataset, model: TrainedModel, encoder_folder: Path, tmp_path: Path
) -> None:
    folder = bundle_model(
        model, dataset.documents, encoder_folder, tmp_path / "b", metrics={"recall@100": 0.4}
    )

    bundle = open_bundle(folder)
    assert bundle.manifest.version == folder.name
    assert (bundle.vectors == model.vectors).all()
    assert bundle.ads == dataset.documents
    assert bundle.manifest.counts == model.counts
    assert bundle.manifest.data_sha256 == model.data_sha256
    assert bundle.manifest.settings["mixing_weight"] == model.mixing_weight
    assert bundle.manifest.metrics == {"recall@100": 0.4}
    with pytest.raises(NotFound):
        current(tmp_path / "b")


def test_a_model_of_another_encoder_is_not_published(
    dataset: Dataset, model: TrainedModel, encoder_folder: Path, tmp_path: Path
) -> None:
    with pytest.raises(InvalidInput, match="words-2"):
        bundle_model(
            replace(model, encoder="words-2"), dataset.documents, encoder_folder, tmp_path / "b"
        )
    with pytest.raises(NotFound):
        current(tmp_path / "b")
