"""Settings of the renderer: UNDERSTUDY_* for what every service has, UNDERSTUDY_RENDERER_* for its own."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from services.common.settings import ServiceSettings


class RendererSettings(ServiceSettings):
    """How to render."""

    renderer_threads: int = Field(default=0, ge=0)
    """Processors that rendering uses; 0 takes all that this process may use. Fixed, rendering repeats its bytes."""
    renderer_runtime: Literal["auto", "openvino", "onnxruntime"] = "auto"
    """What runs the networks; "auto" takes ONNX Runtime where it is installed and opens a GPU, else OpenVINO."""
