"""ONNX Runtime: a performer's network on an NVIDIA GPU, by TensorRT or by CUDA; on the CPU where neither opens.

Its packages are those of requirements/renderer-gpu.txt. TensorRT's own libraries are in none of them: where NVIDIA's
are installed they are used, in float16.
"""

from __future__ import annotations

import ctypes
import os
import re
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from services.common.errors import ServiceUnavailable
from services.common.telemetry import logger
from services.renderer.runtimes.base import Floats, Network
from services.renderer.runtimes.cut import CutNetwork, smallest
from services.renderer.runtimes.engines import engine_folder, make_engine_folder

_log = logger(__name__)

TENSORRT, CUDA, CPU = "TensorrtExecutionProvider", "CUDAExecutionProvider", "CPUExecutionProvider"
_DRIVER = "libcuda.so.1"
_ERROR, _FATAL = 3, 4
# Mean difference of a GPU's pictures from the CPU's, of outputs in 0..1, that its precision explains. A float16 that
# overflowed, or an engine of other weights, differs by more.
_TOLERANCE = 0.01
# Where in its source ONNX Runtime was, before what it says.
_PLACE = re.compile(r"^.*/onnxruntime_src/\S+:\d+ .*?[)\]] (?=[A-Z])")
_LONGEST_REASON = 300

Sessions = Callable[[bytes, bool], Any]
"""Opens an InferenceSession: of ONNX, and whether it must compute in float32 throughout."""


class OnnxRuntime:
    """See Runtime.

    Args:
        threads: of what is computed on the CPU.
        cache_dir: keeps what TensorRT builds, which takes minutes; may vanish.
        providers: those tried, best first. The CPU comes last in any case.

    refused: why each of them that cannot be had is not used, by its name. for_gpus: whether the installed build is one
    for GPUs, whatever this machine has.

    Raises ServiceUnavailable when the packages are not installed.
    """

    name = "onnxruntime"

    def __init__(self, threads: int, cache_dir: Path, providers: Sequence[str] = (TENSORRT, CUDA)) -> None:
        self._library = _imported()
        self._threads = threads
        self._engines = cache_dir / "engines"
        self.for_gpus = CUDA in self._library.get_available_providers()
        reasons = {provider: self._trial(provider) for provider in providers}
        self.refused = {provider: reason for provider, reason in reasons.items() if reason}
        self._gpu_providers = [provider for provider, reason in reasons.items() if not reason]
        self.provider = [*self._gpu_providers, CPU][0]

    def open(self, model_path: Path, width: int, height: int, batch: int) -> Network:
        """See Runtime. By the first provider that opens it and paints what the CPU paints."""
        data = model_path.read_bytes()
        cut = CutNetwork(data, width, height, batch)
        on_cpu = OnnxNetwork(cut, lambda part, _exact: self._session(part, [CPU]), "cpu")
        engines = engine_folder(self._engines, data, f"{width}x{height}-{self._library.__version__}")
        for provider in self._gpu_providers:
            try:
                network = OnnxNetwork(cut, self._sessions(provider, engines), "cuda")
                reason = differs(network(*cut.example()), on_cpu(*cut.example()))
            except Exception as error:  # noqa: BLE001 - whatever a driver says, the CPU can do the work
                reason = _said(error)
            if not reason:
                return network
            shutil.rmtree(engines, ignore_errors=True)  # an engine that was cut off half written is not met again
            _log.warning("this provider does not render the performer", provider=provider, reason=reason)
        return on_cpu

    def _trial(self, provider: str) -> str:
        """Why nothing can be computed by this provider; empty when it can."""
        if provider not in self._library.get_available_providers():
            return f"the installed ONNX Runtime {self._library.__version__} is built without it"
        try:
            ctypes.CDLL(_DRIVER)
        except OSError as error:
            return f"no NVIDIA driver: {error}"
        self._library.preload_dlls()  # finds CUDA's libraries among the installed packages
        # Its own words go to stderr. Of TensorRT the exception says them too, and that it is not there is usual.
        self._library.set_default_logger_severity(_FATAL if provider == TENSORRT else _ERROR)
        try:
            self._session(smallest(), [provider]).run(None, {"given": np.ones((1, 2), np.float32)})
        except Exception as error:  # noqa: BLE001 - a driver that fails is one that is not there
            return _said(error)
        finally:
            self._library.set_default_logger_severity(_ERROR)
        return ""

    def _sessions(self, provider: str, engines: Path) -> Sessions:
        # Convolutions by the algorithm that is best by rule, not by a race, which another worker may see won by
        # another. TF32 keeps ten bits of a float's fraction: not enough for the coordinates that drawing takes.
        cuda = {"cudnn_conv_algo_search": "HEURISTIC"}
        exact = [(CUDA, {**cuda, "use_tf32": "0"}), CPU]
        quick: list[Any] = [(CUDA, {**cuda, "use_tf32": "1"}), CPU]
        if provider == TENSORRT:
            make_engine_folder(engines)
            quick.insert(0, (TENSORRT, {
                "trt_fp16_enable": "True", "trt_layer_norm_fp32_fallback": "True", "trt_engine_cache_enable": "True",
                "trt_engine_cache_path": str(engines), "trt_timing_cache_enable": "True",
                "trt_timing_cache_path": str(engines),
            }))  # fmt: skip
        return lambda part, is_exact: self._session(part, exact if is_exact else quick)

    def _session(self, data: bytes, providers: Sequence[Any]) -> Any:
        """Raises RuntimeError when the first of the providers does not take part, and whatever ONNX Runtime raises."""
        options = self._library.SessionOptions()
        options.intra_op_num_threads = self._threads
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # the rest of rendering needs them
        options.use_deterministic_compute = True
        options.log_severity_level = _ERROR
        session = self._library.InferenceSession(data, options, providers=providers, enable_fallback=0)
        first = providers[0] if isinstance(providers[0], str) else providers[0][0]
        if first not in session.get_providers():
            raise RuntimeError(f"{first} does not open, ONNX Runtime would compute by {session.get_providers()}")
        return session


class OnnxNetwork:
    """See Network. Cut in two where the skeleton is drawn, as OpenVINO's is; what is drawn stays on the device.

    device: "cuda" or "cpu".
    """

    def __init__(self, cut: CutNetwork, sessions: Sessions, device: str) -> None:
        self.batch, self.goes_on = cut.batch, cut.goes_on
        self._drawing = sessions(cut.drawing(), True)  # noqa: FBT003 - exact
        self._drawn = self._drawing.io_binding()
        for name in ("columns", "rows"):
            self._drawn.bind_cpu_input(name, np.arange(cut.inputs[name][0], dtype=np.float32))
        self._drawn.bind_output("planes", device)
        planes = self._draw(cut.example()[0])
        self._body = sessions(cut.body(planes.shape()), False)  # noqa: FBT003 - exact
        self._painted = self._body.io_binding()
        self._painted.bind_output("window", "cpu")

    def __call__(self, keypoints: Floats, previous: Floats) -> Floats:
        """See Network."""
        self._painted.bind_ortvalue_input("planes", self._draw(keypoints))
        if self.goes_on:
            self._painted.bind_cpu_input("previous", previous)
        self._body.run_with_iobinding(self._painted)
        window: Floats = self._painted.copy_outputs_to_cpu()[0]
        return window

    def _draw(self, keypoints: Floats) -> Any:
        """The planes, an OrtValue on the device."""
        self._drawn.bind_cpu_input("keypoints", keypoints)
        self._drawing.run_with_iobinding(self._drawn)
        return self._drawn.get_outputs()[0]


def differs(found: Floats, expected: Floats) -> str:
    """In words, by how much pictures differ from those expected; empty when rounding explains it."""
    mean = float(np.abs(found - expected).mean())
    if mean <= _TOLERANCE:  # not of numbers that are none
        return ""
    return f"its pictures differ from the CPU's by {mean:.4g} on average (allowed: {_TOLERANCE:g})"


def _imported() -> ModuleType:
    # Read when it is imported: without it, a client starts that sends usage events to its makers.
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"
    try:
        import onnx  # noqa: F401 - what cuts a network
        import onnxruntime
    except ImportError as error:
        raise ServiceUnavailable(
            f"rendering by ONNX Runtime needs a package that is not installed ({error}): install "
            "requirements/renderer-gpu.txt or run the image renderer-gpu, or take UNDERSTUDY_RENDERER_RUNTIME=openvino"
        ) from error
    library: ModuleType = onnxruntime
    return library


def _said(error: Exception) -> str:
    said = _PLACE.sub("", " ".join(str(error).split()))
    return said[:_LONGEST_REASON] or type(error).__name__
