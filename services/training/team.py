"""Several processes that train one model: started by torchrun, each computes a share of every batch."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

import torch
import torch.distributed as dist

from shared.errors import NotFound

DeviceName = Literal["auto", "cpu", "cuda"]
"""auto: CUDA where there is one."""


@dataclass(frozen=True)
class Team:
    """This process among the others; one process alone is a team of 1."""

    rank: int
    size: int
    device: torch.device

    @property
    def leads(self) -> bool:
        """Tell whether this process writes files and shows progress."""
        return self.rank == 0

    def share(self, rows: int) -> slice:
        """Return which of `rows` are this process's."""
        return slice(self.rank * rows // self.size, (self.rank + 1) * rows // self.size)

    def gathered(self, own: torch.Tensor, rows: int) -> torch.Tensor:
        """Return the rows of all processes; gradients flow into this one's.

        Args:
            own: (rows of `share(rows)`, dimensions).
            rows: of all processes together.
        """
        if self.size == 1:
            return own
        everyone = own.new_zeros(rows, own.shape[1])
        everyone[self.share(rows)] = own.detach()
        dist.all_reduce(everyone)
        everyone[self.share(rows)] = own
        return everyone

    def summed(self, own: torch.Tensor) -> torch.Tensor:
        """Add up the processes' tensors, in place, and return the sum."""
        if self.size > 1:
            dist.all_reduce(own)
        return own

    def told_by_leader(self, values: torch.Tensor) -> torch.Tensor:
        """Return the leader's `values`, of the same shape and type in every process."""
        if self.size > 1:
            values = values.to(self.device)
            dist.broadcast(values, src=0)
        return values

    def wait(self) -> None:
        """Return once every process is here."""
        if self.size > 1:
            dist.barrier()


def uses_cuda(device: DeviceName) -> bool:
    """Say whether training on `device` is training on CUDA.

    Raises:
        NotFound: CUDA is asked for and there is none.
    """
    if device == "cuda" and not torch.cuda.is_available():
        raise NotFound("--device cuda: torch finds no CUDA device here")
    return device != "cpu" and torch.cuda.is_available()


@contextmanager
def joined_team(device: DeviceName = "auto") -> Iterator[Team]:
    """Join the processes that torchrun started; a process started otherwise is alone.

    Raises:
        NotFound: CUDA is asked for and there is none.
    """
    cuda = uses_cuda(device)
    if not dist.is_torchelastic_launched():
        yield Team(0, 1, torch.device("cuda" if cuda else "cpu"))
        return
    place = torch.device("cuda", dist.get_node_local_rank()) if cuda else torch.device("cpu")
    if cuda:
        torch.cuda.set_device(place)
    dist.init_process_group("nccl" if cuda else "gloo")
    try:
        yield Team(dist.get_rank(), dist.get_world_size(), place)
    finally:
        dist.destroy_process_group()
