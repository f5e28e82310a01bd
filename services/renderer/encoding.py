"""Rendered frames to a video file: with the source's rate and sound, alone or side by side with what they came from."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import get_args

import cv2
import numpy as np
from numpy.typing import NDArray

from services.common.artifacts import Artifact, ArtifactRef, Artifacts, ArtifactWriter, Facts, Recipe
from services.common.draw import draw_pose
from services.common.errors import InvalidInput, InvalidOption
from services.common.frames import FrameReader
from services.common.shards import MATTES_NAME, ShardEntry, shard_entries
from services.common.stage import Job
from services.common.tracks import PoseTrack
from services.common.video.write import ALPHA_FORMATS, VideoFormat, write_video
from services.renderer.worker import performed_frames

Picture = NDArray[np.uint8]

VERSION = 1
LAYOUTS = ("result", "side_by_side")
TITLE = "Understudy performance"
SYNTHETIC = (
    "Synthetic video made by Understudy: the person shown never performed this dance. "
    "It was generated from a video of them and driven by a video of somebody else."
)
_BACKDROP = 24  # grey of the panel in which the driven pose is drawn


@dataclass(frozen=True)
class EncodeRequest:
    """What to encode. rendered_shards cover the driven track; source_track is drawn over the source's frames."""

    rendered_shards: Sequence[ArtifactRef]
    driven_track: ArtifactRef
    source_clip: ArtifactRef
    video_format: VideoFormat
    layout: str
    source_track: ArtifactRef | None


def encode_request(
    rendered_shards: Sequence[ArtifactRef],
    driven_track: ArtifactRef,
    source_clip: ArtifactRef,
    video_format: str,
    layout: str,
    source_track: ArtifactRef | None,
) -> EncodeRequest:
    """Fills in defaults. Raises InvalidOption for what is not offered."""
    video_format, layout = video_format or "mp4", layout or "result"
    if layout not in LAYOUTS:
        raise InvalidOption(f"no layout {layout!r}; there are {', '.join(LAYOUTS)}", layout=layout)
    known: dict[str, VideoFormat] = {name: name for name in get_args(VideoFormat)}
    if video_format not in known:
        raise InvalidOption(f"no format {video_format!r}; there are {', '.join(known)}", format=video_format)
    return EncodeRequest(rendered_shards, driven_track, source_clip, known[video_format], layout, source_track)


def video_recipe(request: EncodeRequest) -> Recipe:
    """Everything that decides the video."""
    inputs: dict[str, ArtifactRef | Sequence[ArtifactRef]] = {
        "rendered_shards": list(request.rendered_shards),
        "driven_track": request.driven_track,
        "source_clip": request.source_clip,
    }
    if request.source_track is not None and request.layout == "side_by_side":
        inputs["source_track"] = request.source_track
    return Recipe("video", "encoding", VERSION, inputs, {"format": request.video_format, "layout": request.layout})


class Encoder:
    """Encodes performances. Keeps nothing between calls."""

    def __init__(self, artifacts: Artifacts) -> None:
        self._artifacts = artifacts

    def encode(self, request: EncodeRequest, job: Job, writer: ArtifactWriter) -> Facts:
        """Writes the video. Returns the facts of the Video message.

        The video has one frame for each performed frame (`performed_frames`), at the source's exact rate, and the
        source's sound from the first performed frame to the last.

        Raises InvalidInput when rendered frames are missing, and whatever stops `job`.
        """
        clip = self._artifacts.open(request.source_clip)
        driven = self._track(request.driven_track)
        poses = performed_frames(driven.valid)
        first = int(np.argmax(driven.valid))
        rate = Fraction(int(clip.facts["frame_rate"]["numerator"]), int(clip.facts["frame_rate"]["denominator"]))
        rendered = self._rendered(request, first, len(poses), job)
        if request.layout == "side_by_side":
            rendered = _over_backdrop(rendered)
            source = FrameReader(self._artifacts, shard_entries(clip.facts))
            track = self._track(request.source_track) if request.source_track is not None else None
            rendered = _side_by_side(rendered, source.frames(first, first + len(poses)), driven, poses, track)
        name = "frames.zip" if request.video_format == "png" else f"video.{request.video_format}"
        with tempfile.TemporaryDirectory(prefix="understudy-encode-") as folder:
            path = Path(folder) / name
            written = write_video(
                (picture for _, picture in rendered),
                path,
                rate,
                audio_path=_audio(clip),
                audio_start_seconds=float(first / rate),
                video_format=request.video_format,
                title=TITLE,
                synthetic=SYNTHETIC,
            )
            writer.put_file(name, path)
        return {
            "width": written.width,
            "height": written.height,
            "frame_count": written.frame_count,
            "frame_rate": {"numerator": rate.numerator, "denominator": rate.denominator},
            "has_audio": written.has_audio,
            "format": request.video_format,
            "size_bytes": written.size_bytes,
            "object_name": name,
            "dropped_frames": len(driven) - len(poses),
        }

    def _track(self, ref: ArtifactRef) -> PoseTrack:
        return PoseTrack.from_arrays(self._artifacts.open(ref).read_arrays("track.safetensors"))

    def _rendered(self, request: EncodeRequest, first: int, count: int, job: Job) -> Iterator[tuple[int, Picture]]:
        shards = [self._artifacts.open(ref) for ref in request.rendered_shards]
        entries = [
            ShardEntry(each.ref, int(each.facts["first_frame"]), int(each.facts["frame_count"])) for each in shards
        ]
        transparent = any(each.facts.get("has_alpha", False) for each in shards)
        if transparent and request.layout == "result" and request.video_format not in ALPHA_FORMATS:
            raise InvalidOption(
                f"{request.video_format} cannot be transparent: choose webm, or png for a zip of pictures",
                format=request.video_format,
            )
        alphas = FrameReader(self._artifacts, entries, object_name=MATTES_NAME)
        expected = first
        for index, picture in FrameReader(self._artifacts, entries).frames(first, first + count):
            job.check()
            if index != expected:
                break
            yield index, np.dstack([picture, alphas.frame(index)]) if transparent else picture
            expected += 1
            job.progress(expected - first, count, "frames")
        if expected != first + count:
            raise InvalidInput(f"the rendered shards lack frame {expected} of {first}..{first + count - 1}")


def _audio(clip: Artifact) -> Path | None:
    return clip.local_path("audio.mka") if clip.facts["has_audio"] else None


def _over_backdrop(rendered: Iterator[tuple[int, Picture]]) -> Iterator[tuple[int, Picture]]:
    """Pictures with alpha, laid over the panels' grey."""
    for index, picture in rendered:
        if picture.shape[2] == 4:
            cover = picture[..., 3:].astype(np.float32) / 255.0
            picture = np.rint(picture[..., :3] * cover + _BACKDROP * (1.0 - cover)).astype(np.uint8)
        yield index, picture


def _side_by_side(
    rendered: Iterator[tuple[int, Picture]],
    source: Iterator[tuple[int, Picture]],
    driven: PoseTrack,
    poses: NDArray[np.int64],
    source_track: PoseTrack | None,
) -> Iterator[tuple[int, Picture]]:
    """Source, driven pose and result beside each other, as high as the result; a missing source frame holds."""
    following = next(source, None)
    left: Picture | None = None
    for position, (index, result) in enumerate(rendered):
        height, width = result.shape[:2]
        while following is not None and following[0] <= index:
            left, following = _fit(_marked(following, source_track), height), next(source, None)
        if left is None:
            left = np.zeros((height, width, 3), dtype=np.uint8)
        panel = np.full((height, width, 3), _BACKDROP, dtype=np.uint8)
        panel = draw_pose(panel, driven.keypoints[poses[position]])
        yield index, np.concatenate([left, panel, result], axis=1)


def _marked(frame: tuple[int, Picture], track: PoseTrack | None) -> Picture:
    index, picture = frame
    if track is None or not track.valid[index]:
        return picture
    return draw_pose(picture, track.keypoints[index])


def _fit(picture: Picture, height: int) -> Picture:
    width = max(1, round(picture.shape[1] * height / picture.shape[0]))
    return np.asarray(cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA), dtype=np.uint8)
