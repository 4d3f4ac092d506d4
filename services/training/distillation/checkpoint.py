"""A student's training run on disk: what the adapter's next step depends on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch

from services.training import checkpoint as files
from services.training.checkpoint import Saved, Tensors, below


@dataclass(frozen=True)
class Checkpoint:
    """Everything the next step depends on."""

    adapter: Tensors
    best: Tensors
    """The adapter of the epoch with the lowest held-out loss."""
    optimizer: Mapping[int, Tensors]
    """Adam's moments and step counts, by parameter."""
    random_state: torch.Tensor
    losses: list[float]
    step: int
    seconds: float


def save(folder: Path, fingerprint: str, checkpoint: Checkpoint) -> None:
    """Write a checkpoint over the last one; a crash leaves the old or the new, never half of one."""
    tensors: Tensors = {"random_state": checkpoint.random_state}
    tensors |= {f"adapter/{name}": tensor for name, tensor in checkpoint.adapter.items()}
    tensors |= {f"best/{name}": tensor for name, tensor in checkpoint.best.items()}
    tensors |= {
        f"optimizer/{parameter}/{name}": tensor
        for parameter, state in checkpoint.optimizer.items()
        for name, tensor in state.items()
    }
    facts = {
        "losses": checkpoint.losses,
        "step": checkpoint.step,
        "seconds": checkpoint.seconds,
    }
    files.save(folder, fingerprint, Saved(tensors, facts))


def load(folder: Path, fingerprint: str) -> Checkpoint | None:
    """Return the checkpoint of this very run; None where there is none, or another run's."""
    saved = files.load(folder, fingerprint)
    if saved is None:
        return None
    optimizer: dict[int, Tensors] = {}
    for path, tensor in below("optimizer", saved.tensors).items():
        parameter, _, state = path.partition("/")
        optimizer.setdefault(int(parameter), {})[state] = tensor
    return Checkpoint(
        adapter=below("adapter", saved.tensors),
        best=below("best", saved.tensors),
        optimizer=optimizer,
        random_state=saved.tensors["random_state"],
        losses=saved.facts["losses"],
        step=saved.facts["step"],
        seconds=saved.facts["seconds"],
    )
