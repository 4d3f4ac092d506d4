"""A training run on disk, so that a killed one goes on: tensors as safetensors, the rest as JSON, no pickle."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

_TENSORS, _CARD = "state.safetensors", "state.json"

Tensors = dict[str, torch.Tensor]


@dataclass(frozen=True)
class Saved:
    """What the next step of a run depends on."""

    tensors: Mapping[str, torch.Tensor]
    facts: Mapping[str, Any]
    """Whatever JSON holds."""


def save(folder: Path, fingerprint: str, saved: Saved) -> None:
    """Write a checkpoint over the last one; a crash leaves the old or the new, never half of one."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    new = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}."))
    tensors = {name: tensor.contiguous() for name, tensor in saved.tensors.items()}
    save_file(tensors, new / _TENSORS)
    (new / _CARD).write_text(json.dumps({"fingerprint": fingerprint, "facts": dict(saved.facts)}))
    shutil.rmtree(folder, ignore_errors=True)
    new.rename(folder)


def load(folder: Path, fingerprint: str) -> Saved | None:
    """Return the checkpoint of this very run; None where there is none, or another run's."""
    if not (folder / _CARD).exists():
        return None
    card = json.loads((folder / _CARD).read_text())
    if card["fingerprint"] != fingerprint:
        return None
    return Saved(load_file(folder / _TENSORS), card["facts"])


def below(prefix: str, tensors: Mapping[str, torch.Tensor]) -> Tensors:
    """Return the tensors named PREFIX/..., without the prefix."""
    start = f"{prefix}/"
    return {
        name.removeprefix(start): tensor
        for name, tensor in tensors.items()
        if name.startswith(start)
    }


def optimizer_tensors(optimizer: torch.optim.Optimizer) -> Tensors:
    """Return an optimizer's moments and step counts under names PARAMETER/NAME."""
    return {
        f"{parameter}/{name}": tensor
        for parameter, state in optimizer.state_dict()["state"].items()
        for name, tensor in state.items()
    }


def restore_optimizer(optimizer: torch.optim.Optimizer, tensors: Tensors) -> None:
    """Put back what `optimizer_tensors` returned."""
    states: dict[int, Tensors] = {}
    for path, tensor in tensors.items():
        parameter, _, name = path.partition("/")
        states.setdefault(int(parameter), {})[name] = tensor
    optimizer.load_state_dict(optimizer.state_dict() | {"state": states})
