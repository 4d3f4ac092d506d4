"""One step of the graph: rows apart, in parts, copied; on a tiny real model."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from services.generation.decoder import OnnxDecoder
from shared.contracts.generator import GENERATOR_CARD, GeneratorCard

PROMPTS = [[5, 9, 40], list(range(20, 60)), [7]]


@pytest.fixture
def decoder(tiny_slm: Path) -> OnnxDecoder:
    return _decoder(tiny_slm)


def _decoder(slm: Path) -> OnnxDecoder:
    card = GeneratorCard.model_validate_json((slm / GENERATOR_CARD).read_bytes())
    return OnnxDecoder(
        slm / "model.onnx", rows=5, capacity=64, head_size=card.head_size, threads=1
    )


def _alone(decoder: OnnxDecoder, prompt: list[int]) -> NDArray[np.float32]:
    return decoder.prefill(0, [prompt]).logits.copy()


def test_prompts_read_together_give_what_each_gives_alone(decoder: OnnxDecoder) -> None:
    alone = np.concatenate([_alone(decoder, prompt) for prompt in PROMPTS])

    together = decoder.prefill(1, PROMPTS).logits

    np.testing.assert_allclose(together, alone, atol=1e-4)


def test_a_prompt_read_in_parts_gives_what_the_whole_gives(decoder: OnnxDecoder) -> None:
    whole = _alone(decoder, PROMPTS[1])

    decoder.extend(3, 0, PROMPTS[1][:17])
    decoder.extend(3, 17, PROMPTS[1][17:30])
    in_parts = decoder.extend(3, 30, PROMPTS[1][30:]).logits

    np.testing.assert_allclose(in_parts, whole, atol=1e-4)


def test_rows_of_different_length_advance_together(decoder: OnnxDecoder) -> None:
    longer = np.concatenate([_alone(decoder, [*prompt, 33]) for prompt in PROMPTS])
    decoder.prefill(0, PROMPTS)

    logits = decoder.decode(np.full(3, 33), np.array([len(prompt) for prompt in PROMPTS])).logits

    np.testing.assert_allclose(logits, longer, atol=1e-4)


def test_a_copied_row_goes_on_like_the_first(decoder: OnnxDecoder) -> None:
    longer = _alone(decoder, [*PROMPTS[1], 33])
    decoder.prefill(2, [PROMPTS[1]])
    decoder.copy_row(2, 0, len(PROMPTS[1]))
    decoder.prefill(2, [PROMPTS[0]])

    logits = decoder.decode(np.array([33]), np.array([len(PROMPTS[1])])).logits

    np.testing.assert_allclose(logits, longer, atol=1e-4)


def test_what_a_row_held_before_leaves_no_trace(decoder: OnnxDecoder) -> None:
    fresh = _alone(decoder, PROMPTS[0])
    decoder.prefill(0, [PROMPTS[1]])

    again = decoder.prefill(0, [PROMPTS[0]]).logits

    assert (again == fresh).all()
