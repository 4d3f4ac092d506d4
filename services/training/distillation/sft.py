"""Fine-tune the student on the teacher's answers with LoRA (paper section 4 and its appendix on settings)."""

from __future__ import annotations

import hashlib
import json
import math
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, get_peft_model, get_peft_model_state_dict, set_peft_model_state_dict
from safetensors.torch import save_file
from transformers import AutoModelForCausalLM

from services.training.distillation.base_model import END_TOKEN, TRAINING, end_token_of
from services.training.distillation.batches import (
    IGNORED,
    Batch,
    Row,
    encode,
    parted,
    shuffled_batches,
)
from services.training.distillation.checkpoint import Checkpoint, load, save
from services.training.distillation.teacher_data import Example
from shared.errors import SkimError
from shared.prompt import PromptTokenizer

Progress = Callable[[int, int, str], None]
"""Called with (steps done, steps in all, the held-out loss so far)."""


@dataclass(frozen=True)
class FineTuneSettings:
    """The paper's settings by default; README of the shipped adapter says which it took and why."""

    rank: int = 8
    alpha: int = 16
    dropout: float = 0.05
    learning_rate: float = 3e-4
    batch_size: int = 64
    epochs: int = 2
    warmup_share: float = 0.05
    patience: int = 1
    """Epochs without a lower held-out loss before training stops early."""
    reads_metadata: bool = True
    """False hides text and metadata from the student (the paper's ablation)."""
    rows_at_once: int = 16
    """Rows of a batch that are in memory together; gradients add up over the whole batch."""
    checkpoint_steps: int = 20
    seed: int = 0


@dataclass(frozen=True)
class FineTuneReport:
    """What a run did. Losses are nats a token on the held-out documents, before and after each epoch."""

    held_out_losses: list[float]
    best_epoch: int
    examples: int
    held_out: int
    seconds: float


def fine_tune(
    base: Path,
    learn: Sequence[Example],
    held_out: Sequence[Example],
    target: Path,
    settings: FineTuneSettings,
    progress: Progress | None = None,
) -> FineTuneReport:
    """Train a LoRA adapter, keep the epoch with the lowest held-out loss, write it as fp16 to `target`.

    A run that was killed goes on from its last checkpoint (`target` with `.checkpoint` behind it) if
    base, examples and settings are the same.

    Args:
        base: Hugging Face style folder of a Llama-like causal language model.
        learn: examples to train on.
        held_out: examples of other documents, for choosing the epoch.
        target: receives `adapter_config.json`, `adapter_model.safetensors` and `training.json`.
        settings: hyper-parameters and seed.
        progress: told after every step.

    Raises:
        SkimError: the held-out loss is not a finite number.
    """
    started = time.monotonic()
    torch.manual_seed(settings.seed)
    end_token = end_token_of(base)
    tokenizer = PromptTokenizer(base / "tokenizer.json", end_token=end_token)
    rows, held_rows = (
        [encode(tokenizer, example, reads_metadata=settings.reads_metadata) for example in part]
        for part in (learn, held_out)
    )
    run = _Run(base, tokenizer.end_id, rows, held_rows, settings)
    folder = target.with_name(f"{target.name}.checkpoint")
    run.resume(folder)
    while run.wants_another_epoch:
        run.train_epoch(folder, progress)
    run.restore_best()
    report = FineTuneReport(
        held_out_losses=[round(loss, 4) for loss in run.losses],
        best_epoch=run.best_epoch,
        examples=len(rows),
        held_out=len(held_rows),
        seconds=round(run.seconds_before + time.monotonic() - started, 1),
    )
    _write_adapter(run.model, base.name, target, settings, report, end_token)
    shutil.rmtree(folder, ignore_errors=True)
    return report


class _Run:
    """The state of a training run: everything that a checkpoint holds."""

    def __init__(
        self,
        base: Path,
        pad_id: int,
        rows: Sequence[Row],
        held_rows: Sequence[Row],
        settings: FineTuneSettings,
    ) -> None:
        self._settings = settings
        self._rows, self._held_rows, self._pad_id = rows, held_rows, pad_id
        self._fingerprint = _fingerprint(base, rows, held_rows, settings)
        self._device = "cuda" if torch.cuda.is_available() else "cpu"
        # a CPU without such instructions would imitate them, slower than float32
        self._multiplies_in_bf16 = self._device == "cuda" or bool(
            torch.cpu.get_capabilities().get("avx512_bf16")
        )
        self.model: Any = get_peft_model(  # peft is untyped
            AutoModelForCausalLM.from_pretrained(
                # not torch's fused attention: on a GPU a row's padding, which attends to nothing, is nan there
                base,
                dtype=torch.float32,
                attn_implementation="eager",
            ).to(self._device),
            LoraConfig(
                r=settings.rank,
                lora_alpha=settings.alpha,
                lora_dropout=settings.dropout,
                target_modules="all-linear",
                task_type="CAUSAL_LM",
            ),
        )
        self._steps_an_epoch = math.ceil(len(rows) / settings.batch_size)
        self._steps = settings.epochs * self._steps_an_epoch
        self._optimizer = torch.optim.AdamW(
            [p for p in self.model.parameters() if p.requires_grad],
            lr=settings.learning_rate,
            weight_decay=0,
        )
        self._step = 0
        self.seconds_before = 0.0
        self._started = time.monotonic()
        self.losses: list[float] = []
        self._best = self._adapter()

    @property
    def wants_another_epoch(self) -> bool:
        """Tell whether epochs are left and the last ones brought something."""
        waited = len(self.losses) - 1 - self.best_epoch if self.losses else 0
        return self._step < self._steps and waited < self._settings.patience

    @property
    def best_epoch(self) -> int:
        """Return the epoch of the lowest held-out loss; 0 is the model before training."""
        return self.losses.index(min(self.losses))

    def train_epoch(self, folder: Path, progress: Progress | None) -> None:
        """Go on to the end of the epoch that is open, and measure it."""
        if not self.losses:
            self._measure()
        epoch, done = divmod(self._step, self._steps_an_epoch)
        batches = shuffled_batches(
            self._rows, self._settings.batch_size, f"{self._settings.seed}/{epoch}"
        )
        self.model.train()
        for batch in batches[done:]:
            self._learn(batch)
            self._step += 1
            if progress:
                progress(self._step, self._steps, f"held-out loss {min(self.losses):.3f}")
            # an epoch's last step is saved with its measurement: resumed without, it would go unmeasured
            ends_epoch = self._step % self._steps_an_epoch == 0
            if self._step % self._settings.checkpoint_steps == 0 and not ends_epoch:
                self._save(folder)
        self._measure()
        if self.losses[-1] == min(self.losses):
            self._best = self._adapter()
        self._save(folder)

    def restore_best(self) -> None:
        """Put the weights of the best epoch back."""
        set_peft_model_state_dict(self.model, self._best)

    def resume(self, folder: Path) -> None:
        """Take up a run of the same fingerprint, if `folder` holds one."""
        found = load(folder, self._fingerprint)
        if found is None:
            return
        set_peft_model_state_dict(self.model, found.adapter)
        self._best, self.losses, self._step = found.best, found.losses, found.step
        self.seconds_before = found.seconds
        state = self._optimizer.state_dict()
        state["state"] = found.optimizer
        self._optimizer.load_state_dict(state)
        torch.set_rng_state(found.random_state)

    def _learn(self, batch: Sequence[Row]) -> None:
        for group in self._optimizer.param_groups:
            group["lr"] = self._settings.learning_rate * _warmup_cosine(
                self._step, self._steps, self._settings.warmup_share
            )
        tokens = sum(row.completion_length for row in batch)
        for part in parted(batch, self._settings.rows_at_once, self._pad_id):
            (self._loss(part) / tokens).backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self._optimizer.step()
        self._optimizer.zero_grad(set_to_none=True)

    def _loss(self, batch: Batch) -> torch.Tensor:
        """Return the summed cross-entropy of the completion tokens.

        Rows end together, so the vocabulary's logits are made for the last positions only: a prompt's
        would be most of the memory and are never used.
        """
        # weights stay float32, which is what the adapter is merged into; products are bf16
        with torch.autocast(self._device, torch.bfloat16, enabled=self._multiplies_in_bf16):
            logits = self.model(
                input_ids=batch.input_ids.to(self._device),
                attention_mask=batch.attention_mask.to(self._device),
                position_ids=batch.position_ids.to(self._device),
                logits_to_keep=batch.targets.shape[1] + 1,
                use_cache=False,
            ).logits[:, :-1]
        return torch.nn.functional.cross_entropy(
            logits.float().flatten(0, 1),
            batch.targets.to(self._device).flatten(),
            ignore_index=IGNORED,
            reduction="sum",
        )

    def _measure(self) -> None:
        loss = self._held_out_loss()
        if not math.isfinite(loss):
            raise SkimError(
                f"the held-out loss is {loss} after step {self._step}: a lower learning rate may help"
            )
        self.losses.append(loss)

    @torch.no_grad()
    def _held_out_loss(self) -> float:
        self.model.eval()
        total = sum(
            float(self._loss(part))
            for part in parted(
                sorted(self._held_rows, key=lambda row: len(row.ids)),
                self._settings.rows_at_once,
                self._pad_id,
            )
        )
        return total / max(sum(row.completion_length for row in self._held_rows), 1)

    def _adapter(self) -> dict[str, torch.Tensor]:
        return {
            name: tensor.detach().clone()
            for name, tensor in get_peft_model_state_dict(self.model).items()
        }

    def _save(self, folder: Path) -> None:
        save(
            folder,
            self._fingerprint,
            Checkpoint(
                adapter=self._adapter(),
                best=self._best,
                optimizer=self._optimizer.state_dict()["state"],
                random_state=torch.get_rng_state(),
                losses=self.losses,
                step=self._step,
                seconds=self.seconds_before + time.monotonic() - self._started,
            ),
        )


def _fingerprint(
    base: Path, rows: Sequence[Row], held_rows: Sequence[Row], settings: FineTuneSettings
) -> str:
    content = json.dumps(
        [base.name, [row.ids for row in rows], [row.ids for row in held_rows], asdict(settings)]
    )
    return hashlib.sha256(content.encode()).hexdigest()


def _warmup_cosine(step: int, steps: int, warmup_share: float) -> float:
    warmup = max(1, round(steps * warmup_share))
    if step < warmup:
        return (step + 1) / warmup
    return 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, steps - warmup)))


def _write_adapter(
    model: Any,  # noqa: ANN401  (peft is untyped)
    base_name: str,
    target: Path,
    settings: FineTuneSettings,
    report: FineTuneReport,
    end_token: str,
) -> None:
    target.mkdir(parents=True, exist_ok=True)
    state = {
        name: tensor.detach().to(torch.float16).cpu().contiguous()
        for name, tensor in get_peft_model_state_dict(model).items()
    }
    save_file(state, target / "adapter_model.safetensors")
    config = model.peft_config["default"]
    config.base_model_name_or_path = base_name
    config.inference_mode = True
    config.save_pretrained(target)
    (target / TRAINING).write_text(
        json.dumps(
            {"settings": asdict(settings), "report": asdict(report), END_TOKEN: end_token},
            indent=2,
        )
        + "\n"
    )
