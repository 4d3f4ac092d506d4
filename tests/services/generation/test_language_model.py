"""The decoder against its own single-row run and against torch, on a tiny real model."""

from pathlib import Path

import pytest
import torch
from tokenizers import Tokenizer
from transformers import AutoModelForCausalLM

from services.generation.language_model import LanguageModel
from services.generation.sampling import Sampling
from shared.errors import Damaged, InvalidInput, NotFound, Unavailable

GREEDY = Sampling(temperature=0, max_new_tokens=12)
PROMPTS = [[5, 9, 40], [7], list(range(20, 60)), [100, 101, 102, 103, 104], [11, 12]]


@pytest.fixture(scope="module")
def model(tiny_slm: Path) -> LanguageModel:
    return LanguageModel(tiny_slm, threads=1, slots=4, context_tokens=128)


def test_a_batch_writes_what_each_prompt_gets_alone(model: LanguageModel) -> None:
    together = model.complete(PROMPTS, end_id=0, sampling=GREEDY, seeds=[0] * 5)

    alone = [model.complete([p], end_id=0, sampling=GREEDY, seeds=[0])[0] for p in PROMPTS]
    assert together == alone
    assert any(completion.ids for completion in together)


def test_the_first_token_is_the_one_torch_prefers(tiny_llama: Path, model: LanguageModel) -> None:
    reference = AutoModelForCausalLM.from_pretrained(tiny_llama).eval()
    one = Sampling(temperature=0, max_new_tokens=1)

    written = model.complete(PROMPTS, end_id=-1, sampling=one, seeds=[0] * 5)

    with torch.no_grad():
        logits = [reference(torch.tensor([prompt])).logits[0, -1] for prompt in PROMPTS]
    # int8 weights move the logits: the choice must be among torch's best few of 257
    ranks = [
        int((row > row[completion.ids[0]]).sum())
        for row, completion in zip(logits, written, strict=True)
    ]
    assert max(ranks) < 8
    assert sum(rank == 0 for rank in ranks) >= 3


def test_a_seed_decides_the_draw_whatever_else_is_in_the_batch(model: LanguageModel) -> None:
    sampling = Sampling(temperature=1.0, top_k=50, max_new_tokens=10)

    alone = model.complete([PROMPTS[0]], end_id=0, sampling=sampling, seeds=[7])
    together = model.complete(PROMPTS, end_id=0, sampling=sampling, seeds=[7, 1, 2, 3, 4])
    other = model.complete([PROMPTS[0]], end_id=0, sampling=sampling, seeds=[8])

    assert together[0] == alone[0]
    assert other[0] != alone[0]


def test_a_completion_stops_at_the_limit_and_says_so(model: LanguageModel) -> None:
    (completion,) = model.complete([[5]], end_id=-1, sampling=GREEDY, seeds=[0])

    assert len(completion.ids) == GREEDY.max_new_tokens
    assert not completion.is_finished


def test_a_missing_model_says_how_to_build_it(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="skim models build"):
        LanguageModel(tmp_path)


def test_a_damaged_card_is_named(tmp_path: Path) -> None:
    (tmp_path / "generator.json").write_text("{}")

    with pytest.raises(Damaged, match=r"generator\.json"):
        LanguageModel(tmp_path)


def test_samples_of_a_prompt_are_drawn_apart_and_scored(model: LanguageModel) -> None:
    sampling = Sampling(temperature=1.0, top_k=50, max_new_tokens=10)

    (samples,) = model.sample(
        [PROMPTS[2]],
        end_id=-1,
        sampling=sampling,
        seeds=[7],
        samples=3,
        wants_log_probabilities=True,
    )

    assert len({tuple(sample.ids) for sample in samples}) == 3
    assert [len(sample.log_probabilities) for sample in samples] == [10] * 3
    assert all(score < 0 for sample in samples for score in sample.log_probabilities)


def test_a_stop_string_ends_the_text(model: LanguageModel, tiny_slm: Path) -> None:
    tokenizer = Tokenizer.from_file(str(tiny_slm / "tokenizer.json"))
    (whole,) = model.complete([PROMPTS[0]], end_id=-1, sampling=GREEDY, seeds=[0])
    stop = tokenizer.decode(whole.ids[:6])[-1]

    ticket = model.submit(PROMPTS[0], end_id=-1, sampling=GREEDY, stop_strings=[stop])

    (completion,) = ticket.result(timeout=60)
    text = tokenizer.decode(whole.ids)
    assert completion.text == text[: text.index(stop)]
    assert completion.is_finished


@pytest.mark.parametrize(
    ("prompt", "samples", "stop", "message"),
    [
        ([], 1, [], "empty"),
        ([5], 1, [""], "empty"),
        ([5], 5, [], "1 to 4"),
        ([5] * 120, 1, [], "context of 128"),
    ],
)
def test_what_cannot_be_done_is_refused_at_once(
    model: LanguageModel, prompt: list[int], samples: int, stop: list[str], message: str
) -> None:
    with pytest.raises(InvalidInput, match=message):
        model.submit(prompt, end_id=0, sampling=GREEDY, samples=samples, stop_strings=stop)


def test_the_memory_of_keys_and_values_is_stated(model: LanguageModel) -> None:
    layers, heads, head_size = 2, 2, 16

    assert model.row_bytes == 2 * layers * heads * head_size * 128 * 4
    assert model.key_value_bytes == 5 * model.row_bytes  # the reading row included


def test_a_closed_model_says_so(tiny_slm: Path) -> None:
    with LanguageModel(tiny_slm, threads=1, slots=2, context_tokens=64) as closing:
        pass

    with pytest.raises(Unavailable, match="closed"):
        closing.submit([5], end_id=0, sampling=GREEDY)
