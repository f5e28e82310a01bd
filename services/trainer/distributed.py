"""Several processes that train one performer: each computes its share of every batch, gradients are averaged.

Started by `torchrun`, which tells each process through its environment who it is (RANK, WORLD_SIZE and where to meet).
All processes begin with the same seed and take the same steps, so their weights never differ and need no exchange.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, distributed


@dataclass(frozen=True)
class World:
    """rank: which of the processes this is, from 0. size: how many there are."""

    rank: int = 0
    size: int = 1

    def average(self, tensors: Sequence[Tensor]) -> None:
        """Replaces the tensors, equal in number and shape on all processes, by their mean over the processes."""
        if self.size == 1 or not tensors:
            return
        # One exchange of everything: hundreds of small ones would wait for each other.
        flat = torch.cat([tensor.detach().reshape(-1) for tensor in tensors])
        distributed.all_reduce(flat)
        flat /= self.size
        parts = torch.split(flat, [tensor.numel() for tensor in tensors])
        for tensor, mean in zip(tensors, parts, strict=True):
            tensor.detach().copy_(mean.view(tensor.shape))

    def mean(self, values: Mapping[str, float]) -> dict[str, float]:
        """The mean of each value over the processes."""
        if self.size == 1:
            return dict(values)
        sums = torch.tensor(list(values.values()), dtype=torch.float64)
        sums = sums.cuda() if distributed.get_backend() == "nccl" else sums
        distributed.all_reduce(sums)
        return dict(zip(values, (sums / self.size).tolist(), strict=True))

    def stops(self, *, here: bool) -> bool:
        """Whether one of the processes would stop: those that only help have no opinion of their own."""
        return self.mean({"stop": float(here)})["stop"] > 0.0


ALONE = World()


@contextmanager
def joined_world() -> Iterator[World]:
    """Meets the other processes where `torchrun` started this one; alone where it did not.

    A GPU of its own for each process by NCCL where there are GPUs, else gloo.
    """
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1:
        yield ALONE
        return
    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
    distributed.init_process_group("nccl" if torch.cuda.is_available() else "gloo")
    try:
        yield World(distributed.get_rank(), size)
    finally:
        distributed.destroy_process_group()
