"""A refiner learns what is wrong with faces, is kept where that helps, and can be learnt again to the same weights."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from services.common.artifacts import Artifacts
from services.common.errors import Cancelled
from services.common.nn.face import FacePainter, face_area
from services.common.puppet import NO_SHARE, DraftShare, References, enlarged
from services.common.store import MemoryObjectStore
from services.renderer.runtimes.openvino import OpenVino
from services.trainer.augment import whole_batch
from services.trainer.composite import CompositeTraining
from services.trainer.data import Split, load_training_set, split_clip
from services.trainer.device import choose_device
from services.trainer.draft import read_references
from services.trainer.evaluation import evaluate
from services.trainer.export import export_face_onnx
from services.trainer.face import Face, learn_face
from services.trainer.quality import Gauge
from services.trainer.study import Study
from tests.support.studies import store_study
from tests.unit.trainer.figure import make_study
from tests.unit.trainer.test_training import tiny_config

Floats = NDArray[np.float32]
FRAMES = 100


class Tinted(CompositeTraining):
    """Paints every frame as it was filmed, but its head too green."""

    truth: Floats
    heads: Floats

    def player(self, keypoints: Floats) -> Callable[[int], Floats]:
        def play(frame: int) -> Floats:
            window: Floats = self.truth[frame].copy()
            x, y = self.heads[frame]
            rows, columns = np.mgrid[: window.shape[0], : window.shape[1]]
            head = np.hypot(columns - x, rows - y) < 7
            window[head, :3] = np.clip(window[head, :3] + np.array([-0.3, 0.3, -0.3]), 0.0, 1.0)
            return window

        return play


@dataclass(frozen=True)
class Made:
    training: Tinted
    study: Study
    split: Split
    references: References
    gauge: Gauge

    def learn(self, share: DraftShare = NO_SHARE, report: Callable[[int, int], None] = lambda *_: None) -> Face | None:
        return learn_face(self.training, self.study, self.split, self.references, share, self.gauge, report)


@pytest.fixture
def made(tmp_path: Path) -> Made:
    artifacts = Artifacts(MemoryObjectStore(), tmp_path)
    study, config = Study(artifacts, store_study(artifacts, make_study(FRAMES))), tiny_config(200)
    split = split_clip(study.track, study.camera, config.resolution, FRAMES)
    data, whole = (
        load_training_set(each, study.camera, study.plate, study.frames(0, FRAMES), lambda: None)
        for each in (split, replace(split, training=np.arange(FRAMES)))
    )
    batch = whole_batch(whole, torch.arange(FRAMES))
    training = Tinted(config, data, choose_device("cpu"))
    training.truth = torch.cat([batch.frame, batch.matte], 1).permute(0, 2, 3, 1).numpy()
    training.heads = split.window.keypoints(split.track)[:, 0, :2]
    training.step = config.iterations
    references = read_references(split, study.camera, 72, study.some)
    return Made(training, study, split, references, Gauge(training, study, split, references))


def test_it_learns_what_is_wrong_with_the_face_and_that_is_measured(made: Made) -> None:
    told: list[tuple[int, int]] = []
    face = made.learn(report=lambda done, total: told.append((done, total)))
    assert face is not None
    assert told[-1] == (100, 100)
    assert [done for done, _ in told if done] == list(range(1, 100)) + [100] * (len(told) - told.index((100, 100)))
    study, split = made.study, made.split
    ssim = {}
    for painter in (None, face.painter):
        performers = made.gauge.judged(NO_SHARE, painter)
        found = evaluate(performers, split, study.camera, study.plate, study.frames(*split.heldout_range), lambda: None)
        ssim[painter is not None] = found.metrics["generated"]["person_ssim"]
    assert ssim[True] > ssim[False] + 0.005
    frame = int(split.heldout[5])
    before, after = (made.gauge.judged(NO_SHARE, painter)["generated"](frame) for painter in (None, face.painter))
    factor = made.references.side // split.window.width
    pose = enlarged(split.window.keypoints(split.track)[frame], factor)
    area = face_area(pose, face.painter.side, *before.shape[:2])
    assert area is not None
    assert np.array_equal(before[..., 3], after[..., 3])
    # The head is brown: red above green. Half of what was wrong, at least, is gone from frames never seen.
    x, y = np.rint(pose[0, :2]).astype(int)
    middle = (slice(y - 2, y + 3), slice(x - 2, x + 3))
    off = [float(picture[middle][..., 1].mean() - picture[middle][..., 0].mean()) for picture in (before, after)]
    assert off[0] > 0.2
    assert off[1] < 0.5 * off[0]


def test_it_is_the_same_when_it_is_learnt_again_and_by_the_renderers_runtime(made: Made, tmp_path: Path) -> None:
    first, again = made.learn(), made.learn()
    assert first is not None
    assert again is not None
    for one, other in zip(first.network.parameters(), again.network.parameters(), strict=True):
        assert torch.equal(one, other)
    side = first.painter.side
    path = tmp_path / "face.onnx"
    path.write_bytes(export_face_onnx(first.network, side))
    rendered = FacePainter(side, OpenVino(1).open_face(path, side, 4), 4)
    frame = int(made.split.heldout[3])
    results = [made.gauge.judged(NO_SHARE, each)["generated"](frame) for each in (first.painter, rendered, None)]
    assert np.abs(results[0] - results[1]).max() < 0.05  # by bfloat16, where there is any
    assert np.abs(results[0] - results[2]).max() > 0.1


def test_what_makes_nothing_better_is_left_out(made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(made.gauge, "better_with", lambda *_: False)
    assert made.learn() is None


def test_there_is_none_of_a_draft_of_few_frames_or_of_what_was_trained_for_a_moment(made: Made) -> None:
    assert made.learn(DraftShare(1.0, 1.0)) is None
    few = replace(made, split=replace(made.split, training=made.split.training[:10]))
    assert few.learn() is None
    made.training.step = 99
    assert made.learn() is None


def test_it_can_be_stopped_at_any_step(made: Made) -> None:
    def stop(done: int, _total: int) -> None:
        if done == 7:
            raise Cancelled("stopped by the test")

    with pytest.raises(Cancelled):
        made.learn(report=stop)
