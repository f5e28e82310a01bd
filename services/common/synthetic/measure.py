"""How close a transfer came to the truth."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

_BODY = 17
_MIN_CONFIDENCE = 0.3


@dataclass(frozen=True)
class TransferError:
    """Distances between keypoints found and true ones, over COCO's 17 of the body in all valid frames.

    All are fractions of the dancer's height in the picture, so 0.05 is about a head's half.
    """

    mean: float
    median: float
    mean_placed: float
    """After each frame's figure was moved to where the truth stands: the pose alone."""
    within_tenth: float
    """Share of keypoints nearer than a tenth of the height (PCK@0.1)."""
    frames: int
    """Frames compared."""


def compare_to_truth(keypoints: npt.NDArray[Any], valid: npt.NDArray[np.bool_], truth_json: Path) -> TransferError:
    """Compares a track in the target's frame, (T, K >= 17, 3) x, y px and confidence, with the truth of a pair.

    Frame t of the track is frame t of the source. Keypoints below a confidence of 0.3 are left out. Raises ValueError
    when nothing can be compared.
    """
    facts = json.loads(truth_json.read_text())
    truth = np.asarray(facts["truth_keypoints"], float)[:, :_BODY]
    count = min(len(truth), len(keypoints))
    found, true = keypoints[:count, :_BODY, :2].astype(float), truth[:count]
    used = (keypoints[:count, :_BODY, 2] >= _MIN_CONFIDENCE) & valid[:count, None]
    if not used.any():
        raise ValueError(f"none of {count} frames has a keypoint to compare")
    offset = found - true
    weight = used[..., None].astype(float)
    shift = (offset * weight).sum(axis=1, keepdims=True) / np.maximum(weight.sum(axis=1, keepdims=True), 1)
    height = float(facts["body_height_px"])
    distance = np.linalg.norm(offset, axis=-1)[used] / height
    placed = np.linalg.norm(offset - shift, axis=-1)[used] / height
    return TransferError(
        mean=float(distance.mean()),
        median=float(np.median(distance)),
        mean_placed=float(placed.mean()),
        within_tenth=float((distance < 0.1).mean()),
        frames=int(used.any(axis=1).sum()),
    )
