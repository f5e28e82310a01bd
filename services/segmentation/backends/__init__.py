"""Segmentation backends by name. Importing this imports no model library; `load` does."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from services.common.errors import InvalidOption
from services.segmentation.backends.base import Segmenter


def _mediapipe(weights_dir: Path) -> Segmenter:
    from services.segmentation.backends.mediapipe import MediapipeSegmenter

    return MediapipeSegmenter(weights_dir)


_LOADERS: dict[str, Callable[[Path], Segmenter]] = {"mediapipe": _mediapipe}


def names() -> list[str]:
    """Backends that `load` knows."""
    return sorted(_LOADERS)


def load(name: str, weights_dir: Path) -> Segmenter:
    """Brings a backend into memory. Raises InvalidOption for an unknown name, WeightsMissing, DataCorrupted."""
    loader = _LOADERS.get(name)
    if loader is None:
        raise InvalidOption(f"no segmentation backend {name!r}; there are: {', '.join(names())}", backend=name)
    return loader(weights_dir)


__all__ = ["Segmenter", "load", "names"]
