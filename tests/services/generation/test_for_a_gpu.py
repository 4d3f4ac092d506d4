"""A graph made for a GPU: it gives its likeliest tokens only. It runs on a CPU too, slowly."""

from pathlib import Path

import numpy as np
import pytest

from services.generation.app import load_generator
from services.generation.decoder import OnnxDecoder
from services.generation.sampling import log_probabilities
from services.generation.settings import GenerationSettings
from services.training.distillation.export import ExportSettings, export_language_model
from shared.contracts.generator import GENERATOR_CARD, GeneratorCard
from shared.errors import InvalidInput

PROMPTS = [[5, 9, 40], list(range(20, 60)), [7]]
_GIVEN = 7
_OF_FP16 = 0.05


@pytest.fixture(scope="module")
def for_a_gpu(tiny_llama: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("gpu") / "slm"
    settings = ExportSettings("cuda", "fp16", candidates=_GIVEN)
    export_language_model(tiny_llama, folder, name="tiny", adapter="none", settings=settings)
    return folder


def _decoder(slm: Path) -> OnnxDecoder:
    card = GeneratorCard.model_validate_json((slm / GENERATOR_CARD).read_bytes())
    return OnnxDecoder(
        slm / "model.onnx", rows=5, capacity=64, head_size=card.head_size, threads=1
    )


def test_no_model_is_loaded_to_draw_among_more_than_it_gives(for_a_gpu: Path) -> None:
    with pytest.raises(
        InvalidInput, match=r"top_k is 8, expected 1 to 7 \(SKIM_GENERATION_TOP_K\)"
    ):
        load_generator(for_a_gpu, GenerationSettings(top_k=_GIVEN + 1))


def test_as_many_or_the_likeliest_alone_may_be_drawn(for_a_gpu: Path) -> None:
    drawn = GenerationSettings(top_k=_GIVEN)
    likeliest = GenerationSettings(top_k=_GIVEN + 1, temperature=0, samples=1)

    for settings in (drawn, likeliest):
        load_generator(for_a_gpu, settings).close()


def test_a_graph_for_a_gpu_gives_the_likeliest_tokens_of_the_whole_graph(
    tiny_slm_fp32: Path, for_a_gpu: Path
) -> None:
    whole, best = _decoder(tiny_slm_fp32), _decoder(for_a_gpu)
    every, few = whole.prefill(0, PROMPTS), best.prefill(0, PROMPTS)

    assert (whole.candidates, best.candidates) == (0, _GIVEN)
    assert few.tokens is not None
    chosen = np.take_along_axis(every.logits, few.tokens, axis=1)
    best_logits = -np.sort(-every.logits, axis=1)[:, :_GIVEN]
    np.testing.assert_allclose(chosen, best_logits, atol=_OF_FP16)
    np.testing.assert_allclose(few.logits, best_logits, atol=_OF_FP16)
    first = np.zeros(len(PROMPTS), dtype=np.int64)
    np.testing.assert_allclose(
        log_probabilities(few, first),
        log_probabilities(every, every.logits.argmax(axis=1)),
        atol=_OF_FP16,
    )


@pytest.mark.gpu
def test_cuda_holds_and_copies_rows_as_the_host_does(for_a_gpu: Path) -> None:
    decoder = _decoder(for_a_gpu)
    longer = decoder.prefill(0, [[*PROMPTS[1], 33]]).logits.copy()
    decoder.prefill(2, [PROMPTS[1]])
    decoder.copy_row(2, 0, len(PROMPTS[1]))

    found = decoder.decode(np.array([33]), np.array([len(PROMPTS[1])]))

    np.testing.assert_allclose(found.logits, longer, atol=_OF_FP16)
