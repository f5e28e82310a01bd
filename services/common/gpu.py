"""Memory and use of the GPUs that this process may see, from NVIDIA's management library; nothing without GPUs."""

from __future__ import annotations

import contextlib
import ctypes
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from prometheus_client import CollectorRegistry
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

_LIBRARY = "libnvidia-ml.so.1"


class _Memory(ctypes.Structure):
    _fields_ = (("total", ctypes.c_ulonglong), ("free", ctypes.c_ulonglong), ("used", ctypes.c_ulonglong))


class _Use(ctypes.Structure):
    _fields_ = (("gpu", ctypes.c_uint), ("memory", ctypes.c_uint))


@dataclass(frozen=True)
class GpuState:
    """All visible GPUs together. use: the busiest one's, 0..1."""

    memory_used_bytes: int
    memory_bytes: int
    use: float


class Gpus:
    """Raises OSError when this machine has no such library, or it will not start."""

    def __init__(self, library: str = _LIBRARY) -> None:
        self._library: Any = ctypes.CDLL(library)
        self._call("nvmlInit_v2")

    def state(self) -> GpuState:
        """Raises OSError when the driver refuses."""
        count = ctypes.c_uint()
        self._call("nvmlDeviceGetCount_v2", ctypes.byref(count))
        used = total = 0
        busiest = 0.0
        for index in range(count.value):
            device, memory, use = ctypes.c_void_p(), _Memory(), _Use()
            self._call("nvmlDeviceGetHandleByIndex_v2", ctypes.c_uint(index), ctypes.byref(device))
            self._call("nvmlDeviceGetMemoryInfo", device, ctypes.byref(memory))
            used, total = used + memory.used, total + memory.total
            with contextlib.suppress(OSError):  # a slice of a card has memory of its own, but no use
                self._call("nvmlDeviceGetUtilizationRates", device, ctypes.byref(use))
                busiest = max(busiest, use.gpu / 100)
        return GpuState(used, total, busiest)

    def _call(self, name: str, *arguments: object) -> None:
        code = getattr(self._library, name)(*arguments)
        if code:
            raise OSError(f"{name} gave {code}")


class GpuCollector(Collector):
    """Asks when Prometheus asks."""

    def __init__(self, gpus: Gpus) -> None:
        self._gpus = gpus

    @classmethod
    def register(cls, registry: CollectorRegistry) -> None:
        """Adds the GPUs' metrics where there are GPUs."""
        with contextlib.suppress(OSError, AttributeError):
            registry.register(cls(Gpus()))

    def collect(self) -> Iterable[Metric]:
        try:
            state = self._gpus.state()
        except OSError:
            return
        for name, text, value in (
            ("understudy_gpu_memory_used_bytes", "GPU memory in use, by everybody.", state.memory_used_bytes),
            ("understudy_gpu_memory_bytes", "GPU memory there is.", state.memory_bytes),
            ("understudy_gpu_use_ratio", "Share of the last moment in which the busiest GPU worked.", state.use),
        ):
            yield GaugeMetricFamily(name, text, value=value)
