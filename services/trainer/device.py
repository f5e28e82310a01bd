"""Where training computes, and in which precision."""

from __future__ import annotations

import gc
import os
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import nn

from services.common.nn.processors import available_cpus

M = TypeVar("M", bound=nn.Module)


@dataclass(frozen=True)
class Device:
    """torch: the device. bfloat16: whether convolutions run in bfloat16, where the hardware has instructions for it."""

    torch: torch.device
    bfloat16: bool

    def place(self, module: M) -> M:
        """The module on this device, its weights stored channels last, the layout in which convolutions are fastest."""
        return module.to(self.torch, memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]

    @property
    def gpu_bytes(self) -> int:
        """All memory of the GPU that this is; 0 where it is none of NVIDIA's or AMD's."""
        return torch.cuda.get_device_properties(self.torch).total_memory if self.torch.type == "cuda" else 0

    def free(self) -> None:
        """Gives memory that is kept for later back to the device, after something did not fit."""
        gc.collect()
        if self.torch.type == "cuda":
            torch.cuda.empty_cache()

    def autocast(self) -> AbstractContextManager[object]:
        """Runs what is inside in bfloat16 where that is faster."""
        return torch.autocast(self.torch.type, torch.bfloat16, enabled=self.bfloat16)


def out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory ran out, on whatever device."""
    # The CPU's allocator has no exception of its own.
    said = str(error)
    return isinstance(error, (MemoryError, torch.OutOfMemoryError)) or any(
        words in said for words in ("DefaultCPUAllocator", "not enough memory", "MPS backend out of memory")
    )


def choose_device(name: str = "auto") -> Device:
    """The device of that name ("cuda", "mps", "cpu"), or for "auto" the best that there is.

    Raises RuntimeError when the named device is not there.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    device = torch.device(name)
    if device.type == "cuda":
        return Device(device, torch.cuda.is_bf16_supported(including_emulation=False))
    if device.type == "mps":
        return Device(device, bfloat16=False)
    # Processes that `torchrun` started on one machine share its processors.
    torch.set_num_threads(max(1, available_cpus() // int(os.environ.get("LOCAL_WORLD_SIZE", "1"))))
    # On processors without these instructions bfloat16 is emulated, slower than float32.
    capabilities = torch.cpu.get_capabilities()
    return Device(device, bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16")))
