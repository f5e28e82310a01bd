"""Settings of normalization: UNDERSTUDY_* for what every service has; it has none of its own."""

from __future__ import annotations

from services.common.settings import ServiceSettings


class NormalizationSettings(ServiceSettings):
    """What every service needs to know."""
