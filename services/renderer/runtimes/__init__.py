"""What runs the performers' networks: OpenVINO on the CPU, ONNX Runtime on a GPU, and which of them does here.

Importing this imports neither.
"""

from __future__ import annotations

from pathlib import Path

from services.common.errors import ServiceUnavailable
from services.common.telemetry import logger
from services.renderer.runtimes.base import Runtime
from services.renderer.runtimes.onnxruntime import CPU, OnnxRuntime
from services.renderer.runtimes.openvino import OpenVino

_log = logger(__name__)


def choose_runtime(name: str, threads: int, cache_dir: Path) -> Runtime:
    """The runtime of this name: "openvino", "onnxruntime", or for "auto" ONNX Runtime where it opens a GPU.

    Says in one line of the log which one it is, what it computes on, and why not on a GPU where one was looked for.
    cache_dir: see OnnxRuntime. Raises ServiceUnavailable when ONNX Runtime is asked for and not installed.
    """
    if name == "openvino":
        return _chosen(OpenVino(threads), {})
    try:
        found = OnnxRuntime(threads, cache_dir)
    except ServiceUnavailable:
        if name == "onnxruntime":
            raise
        return _chosen(OpenVino(threads), {})
    if name == "onnxruntime" or found.provider != CPU:
        return _chosen(found, found.refused)
    return _chosen(OpenVino(threads), found.refused if found.for_gpus else {})


def _chosen(runtime: Runtime, refused: dict[str, str]) -> Runtime:
    told = {"runtime": runtime.name, "provider": runtime.provider}
    if refused and runtime.provider.startswith("CPU"):
        _log.warning("runtime chosen, and no GPU opens", **told, refused=refused)
    else:
        _log.info("runtime chosen", **told, **({"refused": refused} if refused else {}))
    return runtime


__all__ = ["Runtime", "choose_runtime"]
