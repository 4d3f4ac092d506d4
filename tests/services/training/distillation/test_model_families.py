"""Other Llama-like families than the pinned one are tuned, exported and served: tiny models of each."""

from pathlib import Path

import pytest
import torch
from transformers import (
    AutoModelForCausalLM,
    LlamaConfig,
    MistralConfig,
    Phi3Config,
    PretrainedConfig,
    Qwen2Config,
    Qwen3Config,
)

from services.generation.language_model import LanguageModel
from services.generation.sampling import Sampling
from services.training.distillation.export import (
    ExportSettings,
    export_language_model,
    merge_adapter,
)
from services.training.distillation.sft import FineTuneSettings, fine_tune
from services.training.distillation.teacher_data import Example
from shared.contracts.document import Document
from shared.prompt import PromptTokenizer
from tests.support.tiny_models import END_TOKEN, TINY_DECODER, write_language_model

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore"),  # peft and transformers warn about each other
]

FAMILIES = {
    "llama": LlamaConfig(**TINY_DECODER, tie_word_embeddings=False),
    "mistral": MistralConfig(**TINY_DECODER, sliding_window=None),
    "phi": Phi3Config(**TINY_DECODER, original_max_position_embeddings=512),
    "qwen2": Qwen2Config(**TINY_DECODER, tie_word_embeddings=True),
    "qwen3": Qwen3Config(**TINY_DECODER, head_dim=16),
}


@pytest.mark.parametrize("config", FAMILIES.values(), ids=FAMILIES)
def test_the_served_text_is_the_tuned_models_own(tmp_path: Path, config: PretrainedConfig) -> None:
    base = write_language_model(tmp_path / "base", config)
    examples = [
        Example(Document(id=f"d{n}", title=f"saw {n}"), ["tool", "blade"]) for n in range(20)
    ]
    settings = FineTuneSettings(rank=4, alpha=8, epochs=2, batch_size=8, learning_rate=1e-2)

    report = fine_tune(base, examples[:16], examples[16:], tmp_path / "adapter", settings)
    merge_adapter(base, tmp_path / "adapter", tmp_path / "merged")
    export_language_model(
        tmp_path / "merged",
        tmp_path / "slm",
        name="tiny",
        adapter="a",
        settings=ExportSettings(precision="fp32"),
    )

    prompts = PromptTokenizer(tmp_path / "slm" / "tokenizer.json", end_token=END_TOKEN)
    prompt = prompts.encode_prompt(Document(id="d", title="saw 7"))
    assert min(report.held_out_losses) < report.held_out_losses[0]
    assert _served(tmp_path / "slm", prompt) == _written(tmp_path / "merged", prompt)


def _served(folder: Path, prompt: list[int]) -> list[int]:
    model = LanguageModel(folder, threads=1, slots=4)
    sampling = Sampling(temperature=0, max_new_tokens=16)
    (completion,) = model.complete([prompt], end_id=-1, sampling=sampling, seeds=[0])
    model.close()
    return list(completion.ids)


def _written(folder: Path, prompt: list[int]) -> list[int]:
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    ids = torch.tensor([prompt])
    with torch.no_grad():
        for _ in range(16):
            best = model(ids).logits[:, -1].argmax(dim=-1, keepdim=True)
            ids = torch.cat([ids, best], dim=1)
    return ids[0, len(prompt) :].tolist()
