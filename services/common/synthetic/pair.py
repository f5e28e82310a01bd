"""A source, a target, and the truth of their transfer: the target's dancer really dancing the source's dance."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from services.common.frames import write_mattes
from services.common.synthetic.body import Dancer
from services.common.synthetic.cast import ADA, BO, HALL, SOURCE_DANCE, STUDIO, TARGET_DANCE
from services.common.synthetic.dance import Dance
from services.common.synthetic.music import write_beat
from services.common.synthetic.render import SyntheticFrame, render_clip
from services.common.synthetic.scene import Scene
from services.common.video.write import write_video

_SAYS = "This video is synthetic: a drawn dancer, no real person."


@dataclass(frozen=True)
class SyntheticPair:
    """Files of one pair."""

    source: Path
    target: Path
    truth: Path
    """The target's dancer and room, steady camera, no noise, dancing the source's dance: same frames as the source."""
    truth_mattes: Path
    """Matte shard of the truth."""
    truth_json: Path
    """Keypoints of source and truth, see `write_synthetic_pair`."""


def write_synthetic_pair(
    folder: Path,
    *,
    source_frames: int = 120,
    target_frames: int = 200,
    source_size: tuple[int, int] = (432, 576),
    target_size: tuple[int, int] = (512, 512),
    fps: Fraction = Fraction(25),
) -> SyntheticPair:
    """Writes source.mp4, target.mp4, truth.mp4, truth_mattes.tar and truth.json, unless all are there already.

    truth.json holds `width`, `height`, `frame_rate` and, per frame of the source, `source_keypoints` and
    `truth_keypoints`, each (frames, 23, 2) px: COCO's 17 of the body and 6 of the feet, hidden ones included; and
    `body_height_px`, by which errors are divided (see `measure`). The same arguments give the same bytes.
    """
    pair = SyntheticPair(*(folder / name for name in ("source.mp4", "target.mp4", "truth.mp4", "truth_mattes.tar",
                                                      "truth.json")))  # fmt: skip
    recipe = {
        "source_frames": source_frames, "target_frames": target_frames, "source_size": list(source_size),
        "target_size": list(target_size), "frame_rate": str(fps), "version": 3,
    }  # fmt: skip
    if pair.truth_json.is_file() and json.loads(pair.truth_json.read_text())["recipe"] == recipe:
        return pair
    folder.mkdir(parents=True, exist_ok=True)
    source = _write(pair.source, ADA, SOURCE_DANCE, STUDIO, source_frames, source_size, fps)
    _write(pair.target, BO, TARGET_DANCE, HALL, target_frames, target_size, fps)
    truth = _write(pair.truth, BO, SOURCE_DANCE, replace(HALL, noise=0.0, drift=0.0), source_frames, target_size, fps)
    write_mattes(pair.truth_mattes, enumerate(truth.mattes))
    keypoints = np.stack(truth.keypoints)
    facts: dict[str, Any] = {
        "recipe": recipe,
        "width": target_size[0],
        "height": target_size[1],
        "frame_rate": str(fps),
        "body_height_px": round(body_height(keypoints), 3),
        "source_keypoints": np.round(np.stack(source.keypoints), 2).tolist(),
        "truth_keypoints": np.round(keypoints, 2).tolist(),
    }
    # Written last and whole: its being there says that the rest is.
    part = pair.truth_json.with_suffix(".part")
    part.write_text(json.dumps(facts))
    os.replace(part, pair.truth_json)
    return pair


class _Kept:
    """Frames on their way into a file; what is true about them stays."""

    def __init__(self, frames: Iterator[SyntheticFrame]) -> None:
        self._frames = frames
        self.keypoints: list[npt.NDArray[np.float32]] = []
        self.mattes: list[npt.NDArray[np.uint8]] = []

    def __iter__(self) -> Iterator[npt.NDArray[np.uint8]]:
        for frame in self._frames:
            self.keypoints.append(frame.keypoints)
            self.mattes.append(frame.alpha)
            yield frame.image


def _write(
    path: Path, dancer: Dancer, dance: Dance, scene: Scene, frames: int, size: tuple[int, int], fps: Fraction
) -> _Kept:
    kept = _Kept(render_clip(dancer, dance, scene, frames, size, float(fps)))
    beat = path.with_suffix(".mka")
    write_beat(beat, dance, float(frames / fps))
    write_video(kept, path, fps, audio_path=beat, synthetic=_SAYS)
    beat.unlink()
    return kept


def body_height(keypoints: npt.NDArray[Any]) -> float:
    """Median over frames of (frames, 23, 2) of the height of all keypoints, px."""
    y = keypoints[..., 1]
    return float(np.median(y.max(axis=1) - y.min(axis=1)))
