"""A short transfer between two clips, judged by its pictures: generated ones always, real ones where they are there."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest

from services.common.artifacts import Artifact, ArtifactRef, Artifacts
from services.common.store import FileObjectStore
from services.common.synthetic import SyntheticPair
from services.common.tracks import PoseTrack
from services.common.video import RGB, VideoFacts, probe, read_frames
from tests.e2e.running import Up
from tests.support.photos import write_photo
from tests.support.program import Event, Run

_MEDIA = Path(__file__).resolve().parents[3] / "shared" / "media" / "videos"
_REACH_PX = 12
"""A limb is about so thick at the sizes used here."""


@dataclass(frozen=True)
class Danced:
    """A transfer that ended well, opened again from what it left."""

    result: Event
    facts: VideoFacts
    frames: list[RGB]
    plate: RGB
    track: PoseTrack

    @property
    def changes(self) -> list[tuple[float, float]]:
        """Of each frame, how far it is from the plate, levels of 255: where the driven body is, and elsewhere."""
        performed = self.track.keypoints[self.track.valid]
        return [_change(frame, self.plate, pose) for frame, pose in zip(self.frames, performed, strict=True)]


def _change(frame: RGB, plate: RGB, pose: np.ndarray) -> tuple[float, float]:
    height, width = plate.shape[:2]
    body = pose[:17][pose[:17, 2] > 0.3][:, :2]
    rows, columns = np.mgrid[:height, :width]
    near = np.zeros((height, width), bool)
    for x, y in body:
        near |= (columns - x) ** 2 + (rows - y) ** 2 < _REACH_PX**2
    left, top = body.min(axis=0) - 6 * _REACH_PX
    right, bottom = body.max(axis=0) + 6 * _REACH_PX
    far = (columns < left) | (columns > right) | (rows < top) | (rows > bottom)
    difference = np.abs(frame.astype(np.int16) - plate).mean(axis=2)
    return float(difference[near].mean()), float(difference[far].mean()) if far.any() else 0.0


def _dance(up: Up, source: Path, target: Path, out: Path, *options: object) -> Danced:
    run = Run(source, target, "-o", out, *options, "--home", up.home)
    assert run.wait() == 0, run.events[-3:]
    artifacts = Artifacts(FileObjectStore(up.home / "store"), up.home / "cache")

    def made(kind: str) -> Artifact:
        found = [each for each in run.result["artifacts"] if each["kind"] == kind]
        return artifacts.open(ArtifactRef(kind, found[-1]["key"]))

    facts = probe(out, crop_bars=False)
    frames = [picture for _, picture in read_frames(out, facts)]
    plate = cv2.imread(str(made("plate").local_path("plate.png")), cv2.IMREAD_COLOR_RGB)
    assert plate is not None
    track = PoseTrack.from_arrays(made("driven_track").read_arrays("track.safetensors"))
    return Danced(run.result, facts, frames, plate.astype(np.uint8), track)


def _check(danced: Danced, size: tuple[int, int], rate: Fraction, frames: int) -> None:
    assert danced.facts.geometry.size == size
    assert danced.facts.frame_rate == rate
    assert len(danced.frames) == int(danced.track.valid.sum()) == danced.result["outputs"][0]["frame_count"]
    assert len(danced.frames) >= 0.9 * frames
    body = np.array([near for near, _ in danced.changes])
    rest = np.array([far for _, far in danced.changes])
    assert (body > 2 * rest).mean() > 0.9, (body, rest)
    assert np.median(rest) < 6, "the room is not the target's"
    still = np.abs(np.diff(np.stack(danced.frames).astype(np.int16), axis=0)).mean(axis=(1, 2, 3))
    assert (still > 0).mean() > 0.9, "the dancer stands still"


def test_a_generated_pair(up: Up, pair: SyntheticPair, out: Path) -> None:
    danced = _dance(up, pair.source, pair.target, out, "--preset", "preview", "--iterations", 24)
    _check(danced, (320, 320), Fraction(25), 48)


def test_a_real_pair(up: Up, out: Path) -> None:
    if not _MEDIA.is_dir():
        pytest.skip(f"real clips were not tried: there is no folder {_MEDIA}")
    source, target = _MEDIA / "steadydancer_00002.mp4", _MEDIA / "tfjs_squats_5fps.mp4"
    danced = _dance(up, source, target, out, "--max-frames", 60, "--iterations", 24)
    _check(danced, (720, 1280), Fraction(24), 60)
    assert danced.result["metrics"]["person_ssim"] > 0


def test_a_draft_of_a_photograph(up: Up, pair: SyntheticPair, out: Path, tmp_path: Path) -> None:
    first = next(picture for _, picture in read_frames(pair.target, probe(pair.target)))
    photo = write_photo(tmp_path / "photo.jpg", first)
    danced = _dance(up, pair.source, photo, out, "--preset", "draft")
    _check(danced, (320, 320), Fraction(25), 48)
