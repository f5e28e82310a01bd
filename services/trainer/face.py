"""Learns the face refiner: from what the trained network makes of training frames, to how the face really was.

The pictures that it learns from are as those of a dance to come: the draft in them is made of references of other parts
of the film.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from services.common.camera import compose, resize, warp
from services.common.nn.face import (
    MIXED,
    MULTIPLE,
    PURE,
    Area,
    FacePainter,
    face_area,
    face_planes,
    face_side,
    feather,
)
from services.common.nn.processors import available_cpus
from services.common.nn.refiner import FaceRefiner
from services.common.puppet import DraftShare, Puppet, References, add_detail, enlarged
from services.common.puppet.parts import trunk_length
from services.common.tracks import CameraPath
from services.trainer.data import Split
from services.trainer.device import Device
from services.trainer.losses import structure_loss, weighted_mean
from services.trainer.quality import Gauge, Studied
from services.trainer.training import Training

Floats = NDArray[np.float32]
Report = Callable[[int, int], None]
"""Called with iterations done and all; may raise to stop."""

# Half as many iterations as the performer had, up to so many; of a performer that had fewer than the latter, there is
# no face yet to refine.
_MOST_ITERATIONS, _LEAST_TRAINED = 400, 100
_BATCH = 8
_LEARNING_RATE, _WARMUP, _AVERAGED = 1e-3, 20, 100
# Weights of losses, that of the colours' absolute difference being 1. Detail: the mean over squares of so many px, so
# that there is as much of it as there was where it cannot be known to the pixel.
_STRUCTURE, _DETAIL, _OVER_PX = 0.5, 1.0, 9
# Frames that are painted to learn from, evenly over those trained on.
_MOST_FRAMES, _LEAST_FRAMES = 240, 24
# The film is taken in so many parts; a draft of one has no reference of it, nor of so many frames beside it.
_PARTS, _BESIDE = 8, 8
# Samples are shifted by up to this part of the square's side, and have no lines so often: as other clips' faces.
_SHIFT, _UNKNOWN_CHANCE = 0.125, 0.15


@dataclass(frozen=True)
class Face:
    """A refiner that was learnt. network: float32, on the CPU. painter: the same, to be used."""

    network: FaceRefiner
    painter: FacePainter


@dataclass(frozen=True)
class _Samples:
    """uint8 (N, C, M, M): what the refiner is given, and the truth, colour and matte; squares with a margin."""

    planes: Tensor
    truths: Tensor


def learn_face(
    training: Training, study: Studied, split: Split, references: References, share: DraftShare, gauge: Gauge,
    report: Report,
) -> Face | None:  # fmt: skip
    """Trains a refiner for what `training` has made.

    Args:
        training: that has ended.
        study: gives frames.
        split: what is trained on.
        references: the performer's.
        share: of the draft, as it will be shown.
        gauge: says whether it makes anything better.
        report: see Report; also called while frames are painted, with nothing done.

    Returns None where there is nothing to learn from, too little was learnt before, or the frames held out are no
    better with it. A function of its arguments.
    """
    iterations = min(_MOST_ITERATIONS, training.step // 2)
    if training.step < _LEAST_TRAINED or len(split.training) < _LEAST_FRAMES or share.outline == 1.0:
        return None
    side = face_side(trunk_length(references.keypoints), references.side)
    samples = _paint(training, study, split, references, share, side, lambda: report(0, iterations))
    if samples is None:
        return None
    device = training.device
    with torch.random.fork_rng():
        torch.manual_seed(training.config.seed)
        network, average = (device.place(FaceRefiner()) for _ in range(2))
    average.load_state_dict(network.state_dict())
    optimiser = torch.optim.AdamW(network.parameters(), lr=_LEARNING_RATE, fused=True)
    random = np.random.default_rng(training.config.seed)
    faded = torch.from_numpy(feather(side)).to(device.torch)
    for step in range(iterations):
        report(step, iterations)
        planes, truth = _draw(samples, side, random, device)
        with device.autocast():
            added = network(planes)
        loss = _loss(planes[:, :3] + added * (faded * _own(planes[:, 3:4])), truth[:, :3], faded * _own(truth[:, 3:]))
        optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        fall = 0.05 + 0.95 * (0.5 + 0.5 * np.cos(np.pi * step / iterations))
        for group in optimiser.param_groups:
            group["lr"] = _LEARNING_RATE * min(1.0, (step + 1) / _WARMUP) * fall
        optimiser.step()
        with torch.no_grad():
            torch._foreach_lerp_(
                list(average.parameters()), list(network.parameters()), weight=1.0 / min(step + 1, _AVERAGED)
            )
    painter = FacePainter(side, _residuals(average, device))
    if not gauge.better_with(painter, share, lambda: report(iterations, iterations)):
        return None
    kept = FaceRefiner().eval()
    kept.load_state_dict(average.state_dict())
    return Face(kept, painter)


def _own(alpha: Tensor) -> Tensor:
    """How far a pixel is the person's own."""
    return ((alpha - MIXED) / (PURE - MIXED)).clamp(0.0, 1.0)


def _loss(picture: Tensor, truth: Tensor, weight: Tensor) -> Tensor:
    colour = weighted_mean((picture - truth).abs(), weight)
    detail = weighted_mean((_detail(picture) - _detail(truth)).abs(), weight)
    return colour + _STRUCTURE * structure_loss(picture, truth, weight) + _DETAIL * detail


def _detail(picture: Tensor) -> Tensor:
    """How much fine detail there is about each pixel, wherever in it: (N, 3, S, S)."""
    around = functional.avg_pool2d(picture, 3, stride=1, padding=1, count_include_pad=False)
    return functional.avg_pool2d((picture - around).abs(), _OVER_PX, stride=1, padding=_OVER_PX // 2)


def _residuals(network: FaceRefiner, device: Device) -> Callable[[Floats], Floats]:
    def added(planes: Floats) -> Floats:
        with torch.inference_mode(), device.autocast():
            found: Floats = network(torch.from_numpy(planes).to(device.torch)).cpu().numpy()
        return found

    return added


def _draw(samples: _Samples, side: int, random: np.random.Generator, device: Device) -> tuple[Tensor, Tensor]:
    """Planes and truths of one iteration, float in 0..1, each square where it happens to lie within its margin."""
    margin = samples.planes.shape[-1] - side
    chosen, shifts = random.integers(0, len(samples.planes), _BATCH), random.integers(0, margin + 1, (_BATCH, 2))
    squares = [(slice(None), slice(y, y + side), slice(x, x + side)) for y, x in shifts.tolist()]
    planes, truths = (
        torch.stack([each[n][square] for n, square in zip(chosen.tolist(), squares, strict=True)])
        .to(device.torch).float().mul(1.0 / 255.0)
        for each in (samples.planes, samples.truths)
    )  # fmt: skip
    planes[torch.from_numpy(random.random(_BATCH) < _UNKNOWN_CHANCE), 8:] = 0.0
    return planes, truths


def _paint(
    training: Training, study: Studied, split: Split, references: References, share: DraftShare, side: int,
    check: Callable[[], None],
) -> _Samples | None:  # fmt: skip
    """What the performer makes of training frames, about the face; None where faces are too few."""
    count = len(split.training)
    frames = split.training[np.unique(np.linspace(0, count - 1, min(count, _MOST_FRAMES)).round().astype(int))]
    factor = references.side // split.window.width
    keypoints = split.window.keypoints(split.track)
    poses = enlarged(keypoints, factor)
    player, own = training.player(keypoints), training.config.resolution
    margin = MULTIPLE * max(1, round(_SHIFT * side / MULTIPLE))
    large = side + 2 * margin
    areas = {int(frame): area for frame in frames
             if (area := face_area(poses[frame], large, references.side, references.side))}  # fmt: skip
    taken = {pose.tobytes(): int(frame) for frame, pose in zip(split.training, poses[split.training], strict=True)}
    source = np.array([taken[pose.tobytes()] for pose in references.keypoints])
    planes: dict[int, NDArray[np.uint8]] = {}
    with ThreadPoolExecutor(available_cpus(), thread_name_prefix="face") as pool:
        for part in np.array_split(frames, _PARTS):
            shown = [int(frame) for frame in part if int(frame) in areas]
            apart = (source < part[0] - _BESIDE) | (source > part[-1] + _BESIDE) if len(part) else source < 0
            if not shown or not apart.any():
                continue
            some = References(references.pictures[apart], references.keypoints[apart])
            puppet = Puppet(some, poses[shown], references.side, references.side)

            def made(row: int, shown: list[int] = shown, puppet: Puppet = puppet) -> NDArray[np.uint8]:
                frame = shown[row]
                painted = player(frame)
                picture = add_detail(painted, puppet(row), own, share)
                return _bytes(face_planes(picture, painted, poses[frame], areas[frame]))

            for frame, found in zip(shown, pool.map(made, range(len(shown))), strict=True):
                planes[frame] = found
                check()
    return _samples(planes, areas, study, split, study.camera, references.side)


def _samples(
    planes: dict[int, NDArray[np.uint8]], areas: dict[int, Area], study: Studied, split: Split, camera: CameraPath,
    picture: int,
) -> _Samples | None:  # fmt: skip
    """With the truth of each, cut out of the film."""
    window = split.window
    enlarge = resize((window.width, window.height), (picture, picture))
    given, truths = [], []
    for index, frame, matte in study.some(sorted(planes)):
        matrix = compose(enlarge, window.matrices[index], camera.matrices[index])
        rows, columns = areas[index]
        matrix[:, 2] -= (columns.start, rows.start)
        size = (columns.stop - columns.start, rows.stop - rows.start)
        truths.append(np.dstack([warp(frame, matrix, size), warp(matte, matrix, size, border="zero")]))
        given.append(planes[index])
    if len(given) < _LEAST_FRAMES:
        return None
    return _Samples(torch.from_numpy(np.stack(given)), torch.from_numpy(np.stack(truths).transpose(0, 3, 1, 2).copy()))


def _bytes(planes: Floats) -> NDArray[np.uint8]:
    return np.asarray(np.rint(np.clip(planes, 0.0, 1.0) * 255.0), dtype=np.uint8)
