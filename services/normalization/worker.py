"""Normalization: one track re-posed into another's body and registered camera, and a picture of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from services.common.artifacts import ArtifactRef, Artifacts, ArtifactWriter, Facts, Recipe
from services.common.errors import InvalidOption
from services.common.frames import FrameReader, encode_frame
from services.common.stage import Job
from services.common.tracks import CameraPath, PoseTrack
from services.normalization.normalize import normalize
from services.normalization.preview import preview

VERSION: Final = 4
TRACK_NAME: Final = "track.safetensors"
CAMERA_NAME: Final = "camera.safetensors"
PREVIEW_NAME: Final = "preview.jpg"
DEFAULT_MODE: Final = "global"


@dataclass(frozen=True)
class Side:
    """One of the two videos: its clip, the subject's track and the camera's path."""

    clip: ArtifactRef
    track: ArtifactRef
    camera: ArtifactRef


@dataclass(frozen=True)
class NormalizeRequest:
    """Whose dance, in whose body, and how ("" is the default mode)."""

    source: Side
    target: Side
    mode: str

    @property
    def recipe(self) -> Recipe:
        inputs = {
            f"{role}_{name}": ref
            for role, side in (("source", self.source), ("target", self.target))
            for name, ref in (("clip", side.clip), ("track", side.track), ("camera", side.camera))
        }
        options = {"mode": self.mode or DEFAULT_MODE}
        return Recipe("driven_track", "normalization.normalize_poses", VERSION, inputs, options)


@dataclass(frozen=True)
class _Opened:
    clip: dict[str, Any]
    track: PoseTrack
    camera: CameraPath

    @property
    def frame_rate(self) -> float:
        return float(self.clip["frame_rate"]["numerator"] / self.clip["frame_rate"]["denominator"])


@dataclass(frozen=True)
class Normalization:
    """The stage's logic. Use it from several threads at once."""

    artifacts: Artifacts

    def normalize(self, request: NormalizeRequest, job: Job, writer: ArtifactWriter) -> Facts:
        """The driven track and its preview. Raises InvalidOption, NoPersonFound, ArtifactNotFound, DataCorrupted."""
        source, target = self._open(request.source), self._open(request.target)
        driven = normalize(
            source.track.transformed(source.camera.matrices),
            source.frame_rate,
            target.track.transformed(target.camera.matrices),
            target.frame_rate,
            request.mode or DEFAULT_MODE,
        )
        job.check()
        picture = preview(
            FrameReader.of_clip(self.artifacts, source.clip).frame,
            source.track,
            FrameReader.of_clip(self.artifacts, target.clip).frame,
            target.track,
            driven.track,
            target.camera,
        )
        writer.put_arrays(TRACK_NAME, driven.track.to_arrays())
        writer.put_bytes(PREVIEW_NAME, encode_frame(picture))
        return {
            "frame_count": len(driven.track),
            "valid_frame_count": int(driven.track.valid.sum()),
            "scale_close": round(driven.scale_close, 6),
            "scale_far": round(driven.scale_far, 6),
            "mode": driven.mode,
            "warnings": driven.warnings,
        }

    def _open(self, side: Side) -> _Opened:
        clip = self.artifacts.open(side.clip).facts
        track = PoseTrack.from_arrays(self.artifacts.open(side.track).read_arrays(TRACK_NAME))
        camera = CameraPath.from_arrays(self.artifacts.open(side.camera).read_arrays(CAMERA_NAME))
        frames = int(clip["frame_count"])
        if not len(track) == len(camera) == frames:
            raise InvalidOption(
                f"track ({len(track)} frames), camera ({len(camera)}) and clip ({frames}) are not of one video",
                frames=frames,
            )
        return _Opened(clip, track, camera)
