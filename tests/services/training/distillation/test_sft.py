"""Fine-tuning and export on a tiny real Llama."""

import json
import math
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.numpy import load_file

from services.generation.language_model import LanguageModel, Sampling
from services.training.distillation.base_model import end_token_of, learned_end_token
from services.training.distillation.batches import encode
from services.training.distillation.export import export_language_model, merge_adapter
from services.training.distillation.sft import FineTuneSettings, _Run, fine_tune
from services.training.distillation.teacher_data import Example
from shared.contracts.document import Document
from shared.errors import SkimError
from shared.prompt import PromptTokenizer
from tests.support.tiny_models import END_TOKEN, write_language_model

pytestmark = pytest.mark.filterwarnings("ignore")  # peft and transformers warn about each other


def _examples(count: int) -> list[Example]:
    return [
        Example(Document(id=f"d{n}", title=f"saw {n}"), ["tool", "blade"]) for n in range(count)
    ]


@pytest.fixture(scope="module")
def tuned(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    root = tmp_path_factory.mktemp("sft")
    base = write_language_model(root / "base")
    settings = FineTuneSettings(
        rank=16,
        alpha=32,
        dropout=0,
        learning_rate=1e-2,
        batch_size=8,
        epochs=30,
        patience=30,
    )
    fine_tune(base, _examples(24), _examples(4), root / "adapter", settings)
    return base, root / "adapter"


def test_tuning_lowers_the_held_out_loss_and_keeps_the_best_epoch(
    tuned: tuple[Path, Path],
) -> None:
    report = json.loads((tuned[1] / "training.json").read_text())["report"]

    losses = report["held_out_losses"]
    assert min(losses) < losses[0] / 2
    assert losses[report["best_epoch"]] == min(losses)


def test_a_student_ends_its_answers_as_it_learned_to(
    tuned: tuple[Path, Path], tmp_path: Path
) -> None:
    base, adapter = tuned
    learned = learned_end_token(adapter)
    other = shutil.copytree(base, tmp_path / "other")
    named = json.loads((other / "tokenizer_config.json").read_text())
    (other / "tokenizer_config.json").write_text(json.dumps(named | {"eos_token": "<another>"}))

    merge_adapter(other, adapter, tmp_path / "merged")
    merge_adapter(other, None, tmp_path / "untuned")

    assert learned == end_token_of(base)
    assert end_token_of(tmp_path / "merged") == learned
    assert end_token_of(tmp_path / "untuned") == "<another>"


def test_the_adapter_is_small_and_half_precision(tuned: tuple[Path, Path]) -> None:
    weights = load_file(tuned[1] / "adapter_model.safetensors")

    assert {str(array.dtype) for array in weights.values()} == {"float16"}
    assert all("lora" in name for name in weights)


def test_the_merged_export_writes_what_it_was_taught(
    tuned: tuple[Path, Path], tmp_path: Path
) -> None:
    base, adapter = tuned
    merge_adapter(base, adapter, tmp_path / "merged")
    card = export_language_model(tmp_path / "merged", tmp_path / "slm", name="tiny", adapter="a")
    model = LanguageModel(tmp_path / "slm", threads=1)
    prompts = PromptTokenizer(tmp_path / "slm" / "tokenizer.json", end_token=END_TOKEN)

    (completion,) = model.complete(
        [prompts.encode_prompt(Document(id="d", title="saw 7"))],
        end_id=prompts.end_id,
        sampling=Sampling(temperature=0, max_new_tokens=20),
        seeds=[0],
    )

    # int4 is coarse for a model this small: the first query survives it, not every byte that follows
    assert prompts.decode(completion.ids).splitlines()[0] == "tool"
    assert card.name.startswith("tiny-")
    assert card.adapter == "a"


def test_the_same_seed_gives_the_same_adapter(tmp_path: Path) -> None:
    base = write_language_model(tmp_path / "base")
    settings = FineTuneSettings(rank=2, alpha=4, epochs=1, batch_size=4, seed=3)

    for name in ("one", "two"):
        fine_tune(base, _examples(8), _examples(2), tmp_path / name, settings)

    one, two = (
        load_file(tmp_path / name / "adapter_model.safetensors") for name in ("one", "two")
    )
    assert all((one[name] == two[name]).all() for name in one)


def test_a_killed_run_goes_on_and_ends_as_an_undisturbed_one(tmp_path: Path) -> None:
    base = write_language_model(tmp_path / "base")
    settings = FineTuneSettings(
        rank=2, alpha=4, epochs=2, batch_size=4, checkpoint_steps=1, patience=2
    )
    steps: list[int] = []

    def kill_in_the_second_epoch(done: int, total: int, note: str) -> None:
        steps.append(done)
        if len(steps) == 3:
            raise KeyboardInterrupt

    fine_tune(base, _examples(8), _examples(2), tmp_path / "whole", settings)
    with pytest.raises(KeyboardInterrupt):
        fine_tune(
            base, _examples(8), _examples(2), tmp_path / "cut", settings, kill_in_the_second_epoch
        )
    again: list[int] = []
    fine_tune(
        base,
        _examples(8),
        _examples(2),
        tmp_path / "cut",
        settings,
        lambda done, total, note: again.append(done),
    )

    whole, cut = (
        load_file(tmp_path / name / "adapter_model.safetensors") for name in ("whole", "cut")
    )
    assert steps == [1, 2, 3]
    assert again == [3, 4], (
        "the third step was not saved: it is taken again, the first two are not"
    )
    assert all((whole[name] == cut[name]).all() for name in whole)
    assert not (tmp_path / "cut.checkpoint").exists()


@pytest.mark.skipif(torch.cuda.is_available(), reason="a GPU always multiplies in bf16")
@pytest.mark.parametrize("is_able", [True, False])
def test_a_cpu_multiplies_in_bf16_only_if_it_has_the_instructions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, is_able: bool
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": is_able})
    base = write_language_model(tmp_path / "base")
    tokenizer = PromptTokenizer(base / "tokenizer.json", end_token=END_TOKEN)
    rows = [encode(tokenizer, example) for example in _examples(4)]
    settings = FineTuneSettings(rank=2, alpha=4, epochs=1, batch_size=4)
    run = _Run(base, tokenizer.end_id, rows, rows, settings)
    products = []
    run.model.get_output_embeddings().register_forward_hook(
        lambda module, given, made: products.append(made.dtype)
    )

    run.train_epoch(tmp_path / "a.checkpoint", None)

    assert set(products) == {torch.bfloat16 if is_able else torch.float32}
    assert {parameter.dtype for parameter in run.model.parameters()} == {torch.float32}


class KilledWhileMeasuring(_Run):
    """Dies in the measurement after the last step of the first epoch."""

    def _held_out_loss(self) -> float:
        if self.losses:
            raise KeyboardInterrupt
        return super()._held_out_loss()


def test_a_run_killed_while_it_measures_an_epoch_measures_it_when_it_goes_on(
    tmp_path: Path,
) -> None:
    base = write_language_model(tmp_path / "base")
    tokenizer = PromptTokenizer(base / "tokenizer.json", end_token=END_TOKEN)
    settings = FineTuneSettings(rank=2, alpha=4, epochs=1, batch_size=4, checkpoint_steps=1)
    learn, held = (
        [encode(tokenizer, example) for example in _examples(count)] for count in (8, 2)
    )
    folder = tmp_path / "a.checkpoint"
    with pytest.raises(KeyboardInterrupt):
        KilledWhileMeasuring(base, 0, learn, held, settings).train_epoch(folder, None)

    report = fine_tune(base, _examples(8), _examples(2), tmp_path / "a", settings)

    assert len(report.held_out_losses) == 2


def test_other_answers_do_not_go_on_from_a_checkpoint(tmp_path: Path) -> None:
    base = write_language_model(tmp_path / "base")
    settings = FineTuneSettings(rank=2, alpha=4, epochs=1, batch_size=4, checkpoint_steps=1)

    def kill(done: int, total: int, note: str) -> None:
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fine_tune(base, _examples(8), _examples(2), tmp_path / "a", settings, kill)
    steps: list[int] = []
    fine_tune(
        base,
        _examples(7),
        _examples(2),
        tmp_path / "a",
        settings,
        lambda done, total, note: steps.append(done),
    )

    assert steps == [1, 2]


def test_training_stops_when_held_out_documents_gain_nothing(tmp_path: Path) -> None:
    base = write_language_model(tmp_path / "base")
    contrary = [Example(Document(id="h", title="saw 1"), ["zzzz qqqq", "xxxx"])]
    settings = FineTuneSettings(
        rank=16, alpha=32, dropout=0, learning_rate=3e-2, batch_size=8, epochs=20, patience=2
    )

    report = fine_tune(base, _examples(24), contrary, tmp_path / "a", settings)

    assert len(report.held_out_losses) < 20
    assert len(report.held_out_losses) - 1 == report.best_epoch + 2


def test_a_run_whose_loss_is_no_number_leaves_no_adapter(
    tuned: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_Run, "_held_out_loss", lambda run: math.nan if run._step else 1.0)
    settings = FineTuneSettings(rank=2, batch_size=8, epochs=1)

    with pytest.raises(SkimError, match="loss is nan after step 1"):
        fine_tune(tuned[0], _examples(8), _examples(4), tmp_path / "adapter", settings)

    assert not (tmp_path / "adapter").exists()


@pytest.mark.gpu
def test_a_gpu_learns_from_rows_of_very_different_lengths(
    tuned: tuple[Path, Path], tmp_path: Path
) -> None:
    long = Document(id="long", title="saw", text="a blade cuts wood " * 40)
    examples = [*_examples(12), *(Example(long, ["tool"]) for _ in range(4))]
    settings = FineTuneSettings(rank=4, batch_size=16, epochs=4, patience=4)

    report = fine_tune(tuned[0], examples, examples, tmp_path / "adapter", settings)

    assert report.held_out_losses[-1] < report.held_out_losses[0]
