"""The ONNX sentence encoder against the torch model it came from."""

import json
import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from transformers import AutoModel

from services.training.encoder_export import export_encoder
from shared.encoder import SentenceEncoder
from shared.errors import Damaged, NotFound
from tests.support.tiny_models import WORDS

TEXTS = ["double reed instrument", "a saw", "bread with apple and pear food sweet baked", "oboe"]


@pytest.fixture(scope="module")
def encoder(tiny_encoder: Path) -> SentenceEncoder:
    return SentenceEncoder(tiny_encoder)


def test_vectors_are_those_of_torch(tiny_bert: Path, encoder: SentenceEncoder) -> None:
    model = AutoModel.from_pretrained(tiny_bert).eval()

    vectors = encoder.encode(TEXTS, batch_size=2)

    for text, vector in zip(TEXTS, vectors, strict=True):
        ids = [WORDS.index(word) if word in WORDS else 1 for word in text.split()]
        with torch.no_grad():
            mean = model(torch.tensor([ids]))[0][0].mean(dim=0)
        expected = torch.nn.functional.normalize(mean, dim=0).numpy()
        assert vector == pytest.approx(expected, abs=1e-5)


def test_vectors_have_unit_length_and_keep_the_order(encoder: SentenceEncoder) -> None:
    vectors = encoder.encode(TEXTS)

    alone = np.concatenate([encoder.encode([text]) for text in TEXTS])
    assert vectors.dtype == np.float32
    assert vectors.shape == (4, 32)
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(np.ones(4), abs=1e-5)
    assert vectors == pytest.approx(alone, abs=1e-5)


def test_texts_of_the_same_length_differ(encoder: SentenceEncoder) -> None:
    saw, bread = encoder.encode(["a saw tool", "sweet baked bread"])

    assert float(saw @ bread) < 0.9


def test_no_texts_give_no_vectors(encoder: SentenceEncoder) -> None:
    assert encoder.encode([]).shape == (0, 32)


def test_a_long_text_is_cut(encoder: SentenceEncoder) -> None:
    vectors = encoder.encode(["saw " * 500, "saw " * 8], max_tokens=8)

    assert vectors[0] == pytest.approx(vectors[1], abs=1e-6)


@pytest.fixture(scope="module")
def in_bytes(tiny_bert: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bytes") / "int8"
    card = export_encoder(tiny_bert, folder)
    assert (card.precision, card.recipe) == ("int8", 2)
    return folder


@pytest.fixture(scope="module")
def quantised(in_bytes: Path) -> SentenceEncoder:
    return SentenceEncoder(in_bytes)


def test_int8_stays_close_to_full_precision(
    quantised: SentenceEncoder, encoder: SentenceEncoder
) -> None:
    drift = (quantised.encode(TEXTS) * encoder.encode(TEXTS)).sum(1)

    assert drift.min() > 0.99


def test_an_int8_vector_does_not_depend_on_its_company(quantised: SentenceEncoder) -> None:
    alone = np.concatenate([quantised.encode([text]) for text in TEXTS])

    together = quantised.encode([*TEXTS, "saw " * 30, "[UNK]"])

    assert quantised.may_batch
    assert together[: len(TEXTS)] == pytest.approx(alone, abs=1e-6)


def test_the_layers_are_fused_and_every_product_is_of_bytes(
    tiny_bert: Path, in_bytes: Path
) -> None:
    kinds = Counter(node.op_type for node in onnx.load(in_bytes / "encoder.onnx").graph.node)
    layers = AutoModel.from_pretrained(tiny_bert).config.num_hidden_layers
    assert kinds["MultiHeadAttention"] == layers
    assert kinds["SkipLayerNormalization"] == 2 * layers
    assert kinds["MatMulIntegerToFloat"] == 4 * layers
    assert kinds["MatMul"] == kinds["Softmax"] == 0


def test_the_same_weights_give_the_same_file(
    tiny_bert: Path, quantised: SentenceEncoder, tmp_path: Path
) -> None:
    assert export_encoder(tiny_bert, tmp_path / "again").name == quantised.name


def test_an_encoder_of_an_older_recipe_encodes_one_by_one(in_bytes: Path, tmp_path: Path) -> None:
    shutil.copytree(in_bytes, tmp_path / "old")
    card = tmp_path / "old" / "encoder.json"
    fields = json.loads(card.read_text())
    del fields["recipe"]  # as it was written before there were recipes
    card.write_text(json.dumps(fields))
    encoder, sizes = SentenceEncoder(tmp_path / "old"), list[int]()
    forward = encoder.forward
    encoder.forward = lambda rows: (sizes.append(len(rows)), forward(rows))[1]

    encoder.encode(TEXTS)

    assert not encoder.may_batch
    assert sizes == [1] * len(TEXTS)


def test_a_missing_or_damaged_encoder_is_named(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="skim models build"):
        SentenceEncoder(tmp_path)
    (tmp_path / "encoder.json").write_text('{"name": 1}')
    with pytest.raises(Damaged, match=r"encoder\.json"):
        SentenceEncoder(tmp_path)
