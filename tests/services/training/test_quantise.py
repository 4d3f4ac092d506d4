"""8-bit products against the float32 graph they come from."""

import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest

from services.generation.decoder import OnnxDecoder
from services.training.quantise import quantise
from shared.contracts.generator import GENERATOR_CARD, GeneratorCard

PROMPTS = [[5, 9, 40], list(range(20, 60)), [7], [100, 101, 102]]


@pytest.fixture
def quantised(tiny_slm_fp32: Path, tmp_path: Path) -> Path:
    shutil.copytree(tiny_slm_fp32, tmp_path / "slm")
    quantise(tmp_path / "slm" / "model.onnx")
    return tmp_path / "slm"


def _decoder(folder: Path) -> OnnxDecoder:
    card = GeneratorCard.model_validate_json((folder / GENERATOR_CARD).read_bytes())
    return OnnxDecoder(
        folder / "model.onnx", rows=6, capacity=64, head_size=card.head_size, threads=1
    )


def test_every_product_is_of_bytes(quantised: Path) -> None:
    graph = onnx.load(quantised / "model.onnx").graph

    kinds = {node.op_type for node in graph.node}
    assert "MatMul" not in kinds
    matrices = [tensor for tensor in graph.initializer if tensor.name.endswith("/bytes")]
    assert len(matrices) == sum(node.op_type == "MatMulIntegerToFloat" for node in graph.node)
    largest = max(int(np.abs(onnx.numpy_helper.to_array(m).astype(int)).max()) for m in matrices)
    assert largest == 63  # two products of 255 x 63 are the most that AVX2 adds in 16 bits


def test_logits_stay_near_those_of_float32(tiny_slm_fp32: Path, quantised: Path) -> None:
    exact = _decoder(tiny_slm_fp32).prefill(0, PROMPTS).logits

    coarse = _decoder(quantised).prefill(0, PROMPTS).logits

    for wanted, found in zip(exact, coarse, strict=True):
        assert np.corrcoef(wanted, found)[0, 1] > 0.98


def test_a_row_is_the_same_to_the_last_bit_in_any_company(
    tiny_slm_fp32: Path, quantised: Path
) -> None:
    decoder = _decoder(quantised)
    alone = []
    for prompt in PROMPTS:
        decoder.prefill(0, [prompt])
        alone.append(decoder.decode(np.array([33]), np.array([len(prompt)])).logits.copy())
    decoder.prefill(0, PROMPTS)

    lengths = np.array([len(prompt) for prompt in PROMPTS])
    together = decoder.decode(np.full(4, 33), lengths).logits

    assert (together == np.concatenate(alone)).all()


def test_the_same_graph_gives_the_same_files(
    tiny_slm_fp32: Path, quantised: Path, tmp_path: Path
) -> None:
    shutil.copytree(tiny_slm_fp32, tmp_path / "again")
    quantise(tmp_path / "again" / "model.onnx")

    for name in ("model.onnx", "model.onnx.data"):
        assert (tmp_path / "again" / name).read_bytes() == (quantised / name).read_bytes()
