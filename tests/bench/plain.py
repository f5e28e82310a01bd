"""One run by a plain script: the same functions of the same libraries, called one after the other in one process.

No services, no store, no gRPC, no hashing, no fsync, no checkpoints, no samples. Every stage decodes the video file
anew with PyAV, as scripts do; results are handed on in memory. What runs in several threads inside a service does so
here too. Models are loaded before the clock starts, as they are in a service that is ready.

    python -m tests.bench.plain CLIP FRAMES ITERATIONS FOLDER      leaves FOLDER/run.json
"""

from __future__ import annotations

import json
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from fractions import Fraction
from itertools import islice
from pathlib import Path
from typing import TypeVar

import av
import numpy as np
import safetensors
import safetensors.numpy
import safetensors.torch
from av.video.frame import VideoFrame
from numpy.typing import NDArray

from services.common.frames import decode_image, encode_frame
from services.common.nn.layer import lay_over
from services.common.nn.processors import available_cpus
from services.common.nn.window import WindowPath, follow_window
from services.common.puppet import DraftShare, References
from services.common.shards import frame_name
from services.common.tracks import CameraPath, PoseTrack
from services.common.video.write import write_video
from services.normalization.normalize import normalize
from services.normalization.preview import preview
from services.pose.assemble import assemble
from services.pose.backends import FramePoses, load_backend
from services.renderer.encoding import SYNTHETIC, TITLE
from services.renderer.families import CompositeWindows, DraftWindows, Windows
from services.renderer.generator import BATCH
from services.renderer.runtimes.openvino import OpenVino
from services.renderer.worker import performed_frames
from services.segmentation import backends as segmentation_backends
from services.segmentation.people import same_person
from services.segmentation.plate import build_plate
from services.segmentation.registration import register_camera
from services.trainer.data import Split, load_training_set, split_clip
from services.trainer.device import choose_device
from services.trainer.draft import DraftConfig, read_references
from services.trainer.evaluation import evaluate
from services.trainer.export import export_onnx
from services.trainer.families import begin_training
from services.trainer.presets import training_config
from services.trainer.quality import Gauge
from services.trainer.training import Hooks, train
from tests.bench.frames import DecodedFrames, GrayFrames, SampledFrames, decode, rgb
from tests.bench.stages import Run, Work

Image = NDArray[np.uint8]
Q = TypeVar("Q")
A = TypeVar("A")

_WEIGHTS = Path(sys.prefix) / "share" / "understudy" / "weights"


@dataclass(frozen=True)
class StudiedClip:
    """A target, studied: what training learns from. mattes: uint8 (H, W), one a frame."""

    clip: Path
    track: PoseTrack
    camera: CameraPath
    mattes: list[Image]
    plate: Image

    def frames(self, indices: NDArray[np.int64]) -> Iterator[tuple[int, Image, Image]]:
        """(index, picture, matte) from the first of the indices to the last."""
        first, last = int(indices[0]), int(indices[-1]) + 1
        for index, picture in islice(decode(self.clip, last), first, None):
            yield index, rgb(picture), self.mattes[index]

    def some(self, wanted: list[int]) -> Iterator[tuple[int, Image, Image]]:
        """The same of the frames wanted alone, which ascend."""
        return (each for each in self.frames(np.array(wanted)) if each[0] in set(wanted))

    def save(self, path: Path) -> None:
        """For another process; the clip stays where it is."""
        track = {f"track.{name}": value for name, value in self.track.to_arrays().items()}
        camera = {f"camera.{name}": value for name, value in self.camera.to_arrays().items()}
        arrays = {**track, **camera, "mattes": np.stack(self.mattes), "plate": self.plate}
        safetensors.numpy.save_file(arrays, path, {"clip": str(self.clip.absolute())})

    @classmethod
    def load(cls, path: Path) -> StudiedClip:
        with safetensors.safe_open(path, "numpy") as file:
            clip = Path(file.metadata()["clip"])
        arrays = safetensors.numpy.load_file(path)
        parts = {
            part: {name.removeprefix(part): value for name, value in arrays.items() if name.startswith(part)}
            for part in ("track.", "camera.")
        }
        track, camera = PoseTrack.from_arrays(parts["track."]), CameraPath.from_arrays(parts["camera."])
        return cls(clip, track, camera, list(arrays["mattes"]), arrays["plate"])


class PlainScript:
    """The script. `folder` takes its files."""

    def __init__(self, work: Work, folder: Path) -> None:
        self._clip, self._work, self._folder = work.clip, work, folder
        self._threads = available_cpus()
        self._pose = load_backend("", _WEIGHTS, self._threads)
        self._segmenter = segmentation_backends.load("mediapipe", _WEIGHTS)
        self._device = choose_device()
        self._run = Run()
        with av.open(str(work.clip)) as container:
            stream = container.streams.video[0]
            self._rate = Fraction(stream.average_rate or 25)
            self._size = stream.width, stream.height
            self._has_audio = bool(container.streams.audio)

    def run(self) -> Run:
        study = self.study()
        split, references, share = self._train(study)
        driven = self._normalize(study.track, study.camera)
        pictures = self._render(driven, split.window, references, share, study.plate)
        self._encode(driven, pictures)
        return self._run

    def study(self) -> StudiedClip:
        """The stages before training."""
        self._ingest()
        poses, track = self._poses()
        camera = self._camera(poses, track)
        mattes = self._mattes(poses, track)
        return StudiedClip(self._clip, track, camera, mattes, self._plate(poses, camera, mattes))

    def _ingest(self) -> None:
        def keep(item: tuple[int, VideoFrame]) -> None:
            index, picture = item
            (self._folder / frame_name(index)).write_bytes(encode_frame(rgb(picture)))

        with self._run.timed("ingest"):
            self._run.frame_count = sum(1 for _ in self._in_parallel(keep, decode(self._clip, self._work.frames)))
        self._run.width, self._run.height = self._size

    def _poses(self) -> tuple[list[FramePoses], PoseTrack]:
        with self._run.timed("pose"):
            found = self._pose.estimate(DecodedFrames(self._clip, self._run.frame_count), lambda _done: None)
            assembled = assemble([poses.keypoints for poses in found], float(self._rate), *self._size)
        return found, assembled.track

    def _camera(self, poses: list[FramePoses], track: PoseTrack) -> CameraPath:
        def people(index: int) -> list[NDArray[np.float32]]:
            subject = [track.keypoints[index]] if track.valid[index] else []
            return [*subject, *poses[index].keypoints]

        with self._run.timed("camera"):
            return register_camera(GrayFrames(self._clip, self._run.frame_count), people).path

    def _mattes(self, poses: list[FramePoses], track: PoseTrack) -> list[Image]:
        def alpha(item: tuple[int, VideoFrame]) -> Image:
            index, picture = item
            if not track.valid[index]:
                return np.zeros((picture.height, picture.width), dtype=np.uint8)
            subject = track.keypoints[index]
            others = [person for person in poses[index].keypoints if not same_person(person, subject)]
            return self._segmenter.segment(rgb(picture), subject, others)

        with self._run.timed("matte"):
            return list(self._in_parallel(alpha, decode(self._clip, self._run.frame_count)))

    def _plate(self, poses: list[FramePoses], camera: CameraPath, mattes: list[Image]) -> Image:
        with self._run.timed("plate"):
            people = [list(found.keypoints) for found in poses]
            return build_plate(SampledFrames(self._clip, mattes, people), camera.matrices).picture

    def _train(self, study: StudiedClip) -> tuple[Split, References, DraftShare]:
        def nothing(*_: object) -> None:
            pass

        config = training_config("preview", "", self._work.iterations, 0)
        with self._run.timed("performer"):
            split = split_clip(study.track, study.camera, config.resolution, config.most_frames)
            data = load_training_set(split, study.camera, study.plate, study.frames(split.training), nothing)
            data = data.to(self._device.torch)
            training = begin_training(config, data, self._device)
        with self._run.timed("training", config.iterations):
            train(training, Hooks(nothing, nothing, nothing, nothing))
        with self._run.timed("performer"):
            references = read_references(split, study.camera, DraftConfig.references, study.some)
            gauge = Gauge(training, study, split, references)
            share = gauge.choose().share
            evaluate(gauge.judged(share), split, study.camera, study.plate, study.frames(split.heldout), nothing)
            generator = training.performer
            weights = {name: value.cpu().contiguous() for name, value in generator.state_dict().items()}
            safetensors.torch.save_file(weights, self._folder / "generator.safetensors")
            (self._folder / "generator.onnx").write_bytes(export_onnx(generator, config.resolution))
        return split, references, share

    def _normalize(self, track: PoseTrack, camera: CameraPath) -> PoseTrack:
        def frame(index: int) -> Image:
            name = frame_name(index)
            image = decode_image((self._folder / name).read_bytes(), name)
            assert image is not None  # we wrote it
            return image

        with self._run.timed("normalization"):
            registered, rate = track.transformed(camera.matrices), float(self._rate)
            driven = normalize(registered, rate, registered, rate).track
            picture = preview(frame, track, frame, track, driven, camera)
            (self._folder / "preview.jpg").write_bytes(encode_frame(picture))
        return driven

    def _render(
        self, driven: PoseTrack, trained: WindowPath, references: References, share: DraftShare, plate: Image
    ) -> list[Image]:
        config = training_config("preview", "", 0, 0)
        shown = performed_frames(driven.valid)
        pictures: dict[int, Image] = {}
        with self._run.timed("render", len(shown)):
            window = follow_window(driven, trained.scale, config.resolution, config.generator.multiple)
            path = self._folder / "generator.onnx"
            threads, side = self._threads, config.resolution
            windows: Windows
            if share.outline == 1.0:
                windows = DraftWindows(references, window, driven, threads, side)
            else:
                windows = CompositeWindows(path, references, window, driven, threads, side, OpenVino(threads), share)
            poses = np.unique(shown)
            for first in range(0, len(poses), BATCH):
                batch = poses[first : first + BATCH]
                for pose, person in zip(batch, windows(batch), strict=True):
                    pictures[int(pose)] = lay_over(plate, person, window.matrices[pose])
            return [pictures[int(pose)] for pose in shown]

    def _encode(self, driven: PoseTrack, pictures: Sequence[Image]) -> None:
        start = float(int(np.argmax(driven.valid)) / self._rate)
        with self._run.timed("encode", len(pictures)):
            write_video(
                pictures, self._folder / "video.mp4", self._rate,
                audio_path=self._clip if self._has_audio else None, audio_start_seconds=start,
                title=TITLE, synthetic=SYNTHETIC,
            )  # fmt: skip

    def _in_parallel(self, work: Callable[[Q], A], items: Iterable[Q]) -> Iterator[A]:
        """Answers in order; about two items a thread are under way."""
        waiting: deque[Future[A]] = deque()
        with ThreadPoolExecutor(self._threads) as pool:
            for item in items:
                waiting.append(pool.submit(work, item))
                if len(waiting) > 2 * self._threads:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()


def main() -> None:
    """See the module."""
    clip, frames, iterations, folder = sys.argv[1:]
    run = PlainScript(Work(Path(clip), int(frames), int(iterations)), Path(folder)).run()
    (Path(folder) / "run.json").write_text(json.dumps(run.to_json()))


if __name__ == "__main__":
    main()
