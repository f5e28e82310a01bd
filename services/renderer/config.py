"""Settings of the renderer: UNDERSTUDY_* for what every service has, UNDERSTUDY_RENDERER_* for its own."""

from __future__ import annotations

from pydantic import Field

from services.common.settings import ServiceSettings


class RendererSettings(ServiceSettings):
    """How to render."""

    renderer_threads: int = Field(default=0, ge=0)
    """Processors that rendering uses; 0 takes all that this process may use. Fixed, rendering repeats its bytes."""
