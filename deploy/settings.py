"""Writes `settings.md`, every setting of every process, from the settings classes: `python -m deploy.settings`."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Container
from pathlib import Path
from typing import Final

from pydantic import SecretStr
from pydantic.fields import FieldInfo

from deploy.store_setup import StoreSetupSettings
from gateway.config import GatewaySettings
from services.common.settings import ServiceSettings
from services.downloader.config import DownloaderSettings
from services.normalization.config import NormalizationSettings
from services.pose.config import PoseSettings
from services.renderer.config import RendererSettings
from services.segmentation.config import SegmentationSettings
from services.trainer.config import TrainerSettings

FILE: Final = Path(__file__).with_suffix(".md")
OWN: Final[dict[str, type[ServiceSettings]]] = {
    "gateway": GatewaySettings,
    "downloader": DownloaderSettings,
    "pose": PoseSettings,
    "segmentation": SegmentationSettings,
    "normalization": NormalizationSettings,
    "trainer": TrainerSettings,
    "renderer": RendererSettings,
    "store-setup": StoreSetupSettings,
}
_FOLDERS: Final = {sys.prefix: "<Python's prefix>", tempfile.gettempdir(): "<temporary folder>"}
_HEAD: Final = """# Settings

Environment variables, read once at the start of a process; `python -m deploy.settings` writes this file from the
settings classes. A value that cannot be is refused at the start, with its name. The command line sets what it needs for
the processes that it starts, and hands on every other `UNDERSTUDY_` variable that it is given.
"""


def document() -> str:
    """The whole file, Markdown."""
    parts = [_HEAD, _section("Every process", ServiceSettings, ())]
    parts += [_section(name, settings, ServiceSettings.model_fields) for name, settings in OWN.items()]
    return "\n".join(part for part in parts if part)


def _section(title: str, settings: type[ServiceSettings], known: Container[str]) -> str:
    rows = [_row(name, field) for name, field in settings.model_fields.items() if name not in known]
    if not rows:
        return ""
    return "\n".join([f"## {title}", "", "| variable | default | |", "|---|---|---|", *rows, ""])


def _row(name: str, field: FieldInfo) -> str:
    meaning = " ".join((field.description or "").split()).replace("|", "\\|")
    return f"| `UNDERSTUDY_{name.upper()}` | {_default(field)} | {meaning} |"


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    value = field.default
    if value is None or (isinstance(value, str | SecretStr) and not value):
        return ""
    text = str(value).lower() if isinstance(value, bool) else str(value)
    for folder, called in _FOLDERS.items():
        text = text.replace(folder, called)
    return f"`{text}`"


def main() -> None:
    """Writes the file."""
    FILE.write_text(document())


if __name__ == "__main__":
    main()
