"""A training run on disk, so that a killed one goes on: tensors as safetensors, the rest as JSON, no pickle."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

_TENSORS, _CARD = "state.safetensors", "state.json"

Tensors = dict[str, torch.Tensor]


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
    folder.parent.mkdir(parents=True, exist_ok=True)
    new = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}."))
    tensors: Tensors = {"random_state": checkpoint.random_state}
    tensors |= {f"adapter/{name}": tensor for name, tensor in checkpoint.adapter.items()}
    tensors |= {f"best/{name}": tensor for name, tensor in checkpoint.best.items()}
    tensors |= {
        f"optimizer/{parameter}/{name}": tensor
        for parameter, state in checkpoint.optimizer.items()
        for name, tensor in state.items()
    }
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, new / _TENSORS)
    card = {
        "fingerprint": fingerprint,
        "losses": checkpoint.losses,
        "step": checkpoint.step,
        "seconds": checkpoint.seconds,
    }
    (new / _CARD).write_text(json.dumps(card))
    shutil.rmtree(folder, ignore_errors=True)
    new.rename(folder)


def load(folder: Path, fingerprint: str) -> Checkpoint | None:
    """Return the checkpoint of this very run; None where there is none, or another run's."""
    if not (folder / _CARD).exists():
        return None
    card = json.loads((folder / _CARD).read_text())
    if card["fingerprint"] != fingerprint:
        return None
    adapter: Tensors = {}
    best: Tensors = {}
    optimizer: dict[int, Tensors] = {}
    tensors = load_file(folder / _TENSORS)
    for name, tensor in tensors.items():
        kind, _, rest = name.partition("/")
        if kind == "adapter":
            adapter[rest] = tensor
        elif kind == "best":
            best[rest] = tensor
        elif kind == "optimizer":
            parameter, _, state = rest.partition("/")
            optimizer.setdefault(int(parameter), {})[state] = tensor
    return Checkpoint(
        adapter=adapter,
        best=best,
        optimizer=optimizer,
        random_state=tensors["random_state"],
        losses=card["losses"],
        step=card["step"],
        seconds=card["seconds"],
    )
