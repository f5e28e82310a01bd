"""A performer as it is stored: what every family's has in common."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from services.common.artifacts import ArtifactWriter, Facts
from services.common.shadow import Shadow, fit_shadow
from services.trainer.data import MINIMUM_FRAMES, Split
from services.trainer.evaluation import Evaluation, Metrics
from services.trainer.study import Study

CONFIG_FORMAT = 1
GENERATED, NEAREST, DRAFT = "generated", "nearest", "draft"
"""Names of what is measured: the performer itself, and what costs no training."""
_SHADOW_FRAMES = 40


def write_performer(
    writer: ArtifactWriter,
    study: Study,
    split: Split,
    evaluation: Evaluation,
    described: dict[str, Any],
    shadow: Shadow | None,
) -> None:
    """Stores configuration, measures, plate and preview.

    described: preset, family, resolution and whatever else the renderer must know of the family. shadow: cast on the
    plate, where there is one.
    """
    writer.put_json("config.json", {
        "format": CONFIG_FORMAT,
        "scale": split.window.scale,
        "width": split.track.width,
        "height": split.track.height,
        **described,
        **({"shadow": shadow.to_json()} if shadow else {}),
    })  # fmt: skip
    writer.put_json("metrics.json", evaluation.metrics)
    writer.put_bytes("plate.png", study.plate_png)
    writer.put_bytes("preview.jpg", jpeg(evaluation.sheet))


def find_shadow(study: Study, split: Split) -> Shadow | None:
    """The contact shadow that the training frames show; None where there is none, or where they are too few."""
    count = len(split.training)
    if count < MINIMUM_FRAMES // 2:
        return None
    chosen = split.training[np.linspace(0, count - 1, min(count, _SHADOW_FRAMES)).round().astype(int)]
    return fit_shadow(split.track, study.camera, study.plate, study.some(chosen.tolist()))


def performer_facts(
    study: Study, split: Split, evaluation: Evaluation, described: dict[str, Any], further: Sequence[str] = ()
) -> Facts:
    """The facts of a performer (the Performer message).

    described: the family's own part of them. further: its warnings.
    """
    metrics = evaluation.metrics
    return {
        "heldout_frames": len(split.heldout),
        "metrics": metrics.get(GENERATED, {}),
        "nearest_metrics": metrics.get(NEAREST, {}),
        "draft_metrics": metrics.get(DRAFT, {}),
        "width": split.track.width,
        "height": split.track.height,
        **described,
        "warnings": [*_warnings_of_pictures(study, split), *_warnings_of_metrics(metrics), *further],
    }


def jpeg(picture: NDArray[np.uint8]) -> bytes:
    """uint8 (H, W, 3) RGB as JPEG."""
    _, data = cv2.imencode(".jpg", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR), (cv2.IMWRITE_JPEG_QUALITY, 92))
    return bytes(data)


def _warnings_of_pictures(study: Study, split: Split) -> list[str]:
    found = []
    if len(split.training) < 100:
        found.append(
            f"only {len(split.training)} frames to learn from; some hundreds of varied poses make a better performer"
        )
    if split.window.scale > 1.0:
        side = split.window.width / split.window.scale
        found.append(f"the person fills only {side:.0f} px of the {study.plate.shape[0]} px high picture")
    return found


def _warnings_of_metrics(metrics: dict[str, Metrics]) -> list[str]:
    generated, others = metrics.get(GENERATED, {}), {NEAREST: "copying old ones", DRAFT: "a draft, which costs nothing"}
    return [
        f"on frames held out it is worse (SSIM {generated['person_ssim']:.2f}) than {what} "
        f"({metrics[name]['person_ssim']:.2f})"
        for name, what in others.items()
        if "person_ssim" in generated and metrics.get(name, {}).get("person_ssim", 0.0) > generated["person_ssim"]
    ]
