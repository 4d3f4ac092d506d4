import warnings
from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest

from loadtests.peers.inference.catalogue import without_pooling
from services.training.encoder_export import export_encoder
from shared.encoder import SentenceEncoder
from tests.support.tiny_models import write_encoder


@pytest.mark.parametrize("precision", ["int8", "fp32"])
def test_the_graph_that_others_pool_themselves_gives_our_vectors(
    tmp_path: Path, precision: str
) -> None:
    source = write_encoder(tmp_path / "sources" / "tiny", layers=2)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's exporter complains about torch
        card = export_encoder(source, tmp_path / "encoder", precision=precision)
    encoder = SentenceEncoder(tmp_path / "encoder")

    without_pooling(tmp_path / "encoder", tmp_path / "sources", tmp_path / "hidden")

    graph = tmp_path / "hidden" / "onnx" / "model_quantized.onnx"
    session = ort.InferenceSession(str(graph), providers=["CPUExecutionProvider"])
    [tokens] = encoder.tokens(["a saw tool"])
    ids = np.array([tokens], dtype=np.int64)
    [hidden] = session.run(
        ["last_hidden_state"], {"input_ids": ids, "attention_mask": np.ones_like(ids)}
    )
    mean = hidden[0].mean(axis=0)

    assert card.precision == precision
    assert mean / np.linalg.norm(mean) == pytest.approx(encoder.forward([tokens])[0], abs=1e-5)
