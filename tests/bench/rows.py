"""One training for the benches: for so long, then measured on the frames held out and rendered.

A few iterations are timed, and as many as fit the time are then run, so that each training has its whole schedule.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
import torch

from services.common.nn.processors import available_cpus
from services.common.puppet import References, enlarged
from services.renderer.families import CompositeWindows, ContinuingWindows, Windows
from services.renderer.runtimes.openvino import OpenVino
from services.trainer.colorvideovdp import ColorVideoVdp
from services.trainer.data import Picture, Split, load_training_set, split_clip
from services.trainer.device import choose_device
from services.trainer.draft import DraftConfig, read_references
from services.trainer.evaluation import Metrics, evaluate
from services.trainer.export import export_onnx
from services.trainer.families import begin_training, paints_everything
from services.trainer.presets import Config
from services.trainer.quality import Gauge
from services.trainer.training import Hooks, Training, train
from tests.bench.plain import PlainScript, StudiedClip
from tests.bench.stages import Work
from tests.bench.variants import variant

_WARM_ITERATIONS, _TIMED_POINTS = 3, 20
_RENDERED_FRAMES, _PAINTED_FRAMES = 24, 9
# What differences of films are judged at, whatever the clip's own, so that numbers compare.
_FRAME_RATE = 25.0


@dataclass(frozen=True)
class Row:
    """What one training gave.

    images: generated an iteration. images_per_second: trained. frames_per_second: of windows as the renderer makes
    them, twice as large as the network's where the film has the pixels; small_per_second: as large as the network's.
    torch_per_second: of the network alone by torch in float32, as published code renders. metrics: of the performer
    ("generated"), and in its window of the nearest training frame and of a draft. draft_share, draft_outline: chosen
    for it, of colours and of alpha.
    """

    name: str
    seed: int
    iterations: int
    images: int
    seconds: float
    images_per_second: float
    frames_per_second: float
    small_per_second: float
    torch_per_second: float
    parameters: int
    metrics: dict[str, Metrics]
    draft_share: float = 0.0
    draft_outline: float = 0.0


@dataclass(frozen=True)
class Prepared:
    """A training before its first iteration, and what it is judged by."""

    training: Training
    split: Split

    @property
    def images(self) -> int:
        """Generated in one iteration; the anchor's samples are pairs of frames."""
        config = self.training.config
        return 2 * config.batch if paints_everything(config) else config.batch


def prepare(config: Config, study: StudiedClip) -> Prepared:
    """The training of a configuration on the best device that there is."""
    device = choose_device()
    still = paints_everything(config)
    split = split_clip(study.track, study.camera, config.resolution, config.most_frames, still=still)
    data = load_training_set(split, study.camera, study.plate, study.frames(split.training), _nothing)
    return Prepared(begin_training(config, data.to(device.torch), device), split)


def train_row(name: str, seed: int, seconds: float, study: StudiedClip, folder: Path) -> tuple[Row, Picture]:
    """Trains a variant for about `seconds`; returns its row and its sheet, truth above result."""
    tried = prepare(variant(name, 1000, seed), study)
    iterations = max(2, round(seconds / iteration_seconds(tried.training)))
    data, device, split = tried.training.data, tried.training.device, tried.split
    training = begin_training(variant(name, iterations, seed), data, device)
    began = time.perf_counter()
    train(training, Hooks(_nothing, _nothing, _nothing, _nothing))
    took = time.perf_counter() - began
    references = read_references(split, study.camera, DraftConfig.references, study.some)
    gauge = Gauge(training, study, split, references)
    share, heldout = gauge.choose().share, study.frames(split.heldout)
    visible = ColorVideoVdp(_FRAME_RATE)
    found = evaluate(gauge.judged(share), split, study.camera, study.plate, heldout, _nothing, visible)
    delivered = small = rendered_per_second(training, split, references, folder)
    if not paints_everything(training.config) and references.side != split.window.width:
        small = rendered_per_second(training, split, reduced(references, split.window.width), folder)
    row = Row(
        name, seed, iterations, tried.images, took, iterations * tried.images / took,
        delivered, small, torch_per_second(training, split),
        sum(parameter.numel() for parameter in training.performer.parameters()), found.metrics,
        share.colours, share.outline,
    )  # fmt: skip
    return row, found.sheet


def _nothing(*_: object) -> None:
    pass


def iteration_seconds(training: Training) -> float:
    """What an iteration takes; timed all over the schedule, whose parts differ in cost."""
    total = training.config.iterations
    for _ in range(_WARM_ITERATIONS):
        training.iterate()
    took = 0.0
    for point in range(_TIMED_POINTS):
        training.step = round((point + 0.5) / _TIMED_POINTS * total)
        began = time.perf_counter()
        training.iterate()
        took += time.perf_counter() - began
    return took / _TIMED_POINTS


def rendered_per_second(training: Training, split: Split, references: References, folder: Path) -> float:
    """Windows a second as the renderer makes them, with the processors of this machine."""
    path, window, side = folder / "generator.onnx", split.window, training.config.resolution
    path.write_bytes(export_onnx(training.performer, side))
    windows: Windows
    threads = available_cpus()
    runtime = OpenVino(threads)
    if paints_everything(training.config):
        windows = ContinuingWindows(path, window, split.track, runtime)
    else:
        windows = CompositeWindows(path, references, window, split.track, threads, side, runtime)
    first = int(split.heldout[0])
    windows(np.arange(first, first + 1))  # what the first call sets up
    wanted = split.heldout[: _RENDERED_FRAMES + 1][1:]
    began = time.perf_counter()
    for start in range(0, len(wanted), windows.batch):
        windows(wanted[start : start + windows.batch])
    return len(wanted) / (time.perf_counter() - began)


def reduced(references: References, side: int) -> References:
    """The references with pictures of `side` px."""
    pictures = [cv2.resize(picture, (side, side), interpolation=cv2.INTER_AREA) for picture in references.pictures]
    return References(np.stack(pictures), enlarged(references.keypoints, side / references.side))


def torch_per_second(training: Training, split: Split) -> float:
    """Windows a second of the network alone, by torch in float32, one after the other."""
    poses = torch.from_numpy(split.window.keypoints(split.track)[split.heldout[:_PAINTED_FRAMES]])
    device, training.device = training.device, replace(training.device, bfloat16=False)
    took = []
    for pose in poses.to(device.torch)[:, None]:
        began = time.perf_counter()
        training.windows(pose).cpu()
        took.append(time.perf_counter() - began)
    training.device = device
    return 1.0 / statistics.median(took)


def study_clip(clip: Path, frames: int) -> StudiedClip:
    """The first `frames` frames of a clip as a target; 0 takes all."""
    with tempfile.TemporaryDirectory(prefix="understudy-bench-") as folder:
        return PlainScript(Work(clip, frames, 0), Path(folder)).study()
