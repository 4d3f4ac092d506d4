"""The text of a document in a crowd is its text alone."""

from pathlib import Path

import numpy as np
import pytest

from loadtests.identity import measure_identity
from shared.contracts.document import Document
from shared.prompt import PromptTokenizer
from shared.settings import CommonSettings
from tests.support.tiny_models import END_TOKEN


def test_a_tiny_model_writes_the_same_in_a_crowd(tiny_slm: Path) -> None:
    random = np.random.default_rng(1)
    prompts = [random.integers(1, 257, random.integers(1, 60)).tolist() for _ in range(24)]

    found = measure_identity(
        tiny_slm, prompts, end_id=0, max_new_tokens=16, slots=5, prefill_tokens=48
    )

    assert found.identical_fraction >= 0.95
    assert found.unexplained_differences == 0


@pytest.mark.slow
def test_the_real_model_writes_the_same_in_a_crowd() -> None:
    folder = CommonSettings().models / "slm"
    if not folder.exists():
        pytest.skip("no SLM here; run `skim models build`")
    tokenizer = PromptTokenizer(folder / "tokenizer.json", end_token=END_TOKEN)
    words = [
        "a",
        "wind",
        "instrument",
        "with",
        "double",
        "reed",
        "made",
        "of",
        "wood",
        "used",
        "for",
        "music",
        "in",
        "the",
        "orchestra",
    ]
    random = np.random.default_rng(3)
    prompts = [
        tokenizer.encode_prompt(
            Document(
                id=f"d{n}",
                title=str(random.choice(words)),
                text=" ".join(random.choice(words, random.integers(5, 120))),
            )
        )
        for n in range(100)
    ]

    found = measure_identity(folder, prompts, end_id=tokenizer.end_id, max_new_tokens=32)

    assert found.identical_fraction >= 0.99
    assert found.unexplained_differences == 0
