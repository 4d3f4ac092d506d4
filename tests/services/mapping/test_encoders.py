import shutil
from pathlib import Path

import numpy as np
import pytest

from services.mapping.encoders import JoinedEncoder, keep_encoders, open_encoder
from shared.encoder import SentenceEncoder
from shared.errors import Conflict, NotFound
from tests.support.encoders import BagOfWordsEncoder

TEXTS = ["red wine", "white wine", "fishing boat"]


def test_the_cosine_of_joined_encoders_is_the_mean_of_theirs() -> None:
    views = [BagOfWordsEncoder("words-1", 64), BagOfWordsEncoder("words-2", 16)]
    joined = JoinedEncoder(views)

    vectors = joined.encode(TEXTS)

    assert (joined.name, joined.dimensions) == ("words-1+words-2", 80)
    assert vectors.dtype == np.float32
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(1, abs=1e-6)
    mean = sum(each.encode(TEXTS) @ each.encode(TEXTS).T for each in views) / 2
    assert vectors @ vectors.T == pytest.approx(mean, abs=1e-6)


def test_an_index_finds_the_encoders_it_was_built_with(tmp_path: Path, tiny_encoder: Path) -> None:
    models, folder = tmp_path / "models", tmp_path / "mapping"
    models.mkdir()
    (models / "encoder").symlink_to(tiny_encoder)
    other = _renamed(tiny_encoder, tmp_path / "tuned", "tuned-1")
    general = SentenceEncoder(tiny_encoder)

    name = keep_encoders(models, folder, [models / "encoder", other])
    joined = open_encoder(models, folder, name)

    assert name == f"{general.name}+tuned-1"
    assert joined.encode(TEXTS).shape == (3, 2 * general.dimensions)
    assert [path.name for path in (folder / "encoders").iterdir()] == ["tuned-1"]
    assert open_encoder(models, folder).name == general.name
    with pytest.raises(Conflict, match="elsewhere-1, which is not here"):
        open_encoder(models, folder, f"{general.name}+elsewhere-1")


def test_what_is_no_encoder_is_not_kept(tmp_path: Path, tiny_encoder: Path) -> None:
    models = tmp_path / "models"
    models.mkdir()
    (models / "encoder").symlink_to(tiny_encoder)

    with pytest.raises(NotFound, match="no sentence encoder"):
        keep_encoders(models, tmp_path / "mapping", [tmp_path / "nothing"])
    assert not (tmp_path / "mapping").exists()


def _renamed(encoder: Path, target: Path, name: str) -> Path:
    shutil.copytree(encoder, target)
    card = target / "encoder.json"
    card.write_text(card.read_text().replace(SentenceEncoder(encoder).name, name))
    return target
