"""The stages over artifacts in memory."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from services.common.artifacts import Artifact, ArtifactRef, Artifacts, ArtifactWriter, Facts, Recipe
from services.common.errors import Cancelled, InvalidOption
from services.common.frames import read_shard
from services.common.shards import MATTES_NAME
from services.common.stage import Job
from services.common.tracks import CameraPath
from services.common.weights import default_weights_dir
from services.segmentation.clip import People, is_subject
from services.segmentation.worker import CameraRequest, MattesRequest, PlateRequest, Segmentation
from tests.unit.segmentation.scenes import HEIGHT, WIDTH, filmed, memory, store_clip, store_poses, store_track

FRAMES = 24


@dataclass(frozen=True)
class Stored:
    worker: Segmentation
    artifacts: Artifacts
    clip: ArtifactRef
    track: ArtifactRef

    @property
    def shard(self) -> ArtifactRef:
        return ArtifactRef(**self.artifacts.open(self.clip).facts["shards"][0]["artifact"])

    def made(self, recipe: Recipe, compute: Callable[[Job, ArtifactWriter], Facts]) -> Artifact:
        writer = self.artifacts.write(recipe)
        return self.artifacts.commit(writer, compute(Job(), writer))

    def mattes(self, request: MattesRequest) -> Artifact:
        return self.made(self.worker.mattes_recipe(request), lambda job, out: self.worker.segment(request, job, out))


@pytest.fixture
def stored(tmp_path: Path) -> Stored:
    artifacts = memory(tmp_path)
    clip = filmed(FRAMES, step=3)
    worker = Segmentation(artifacts, default_weights_dir(), threads=2)
    return Stored(worker, artifacts, store_clip(artifacts, clip), store_track(artifacts, clip.track))


def test_camera_mattes_and_plate_follow_from_each_other(stored: Stored) -> None:
    worker = stored.worker
    ask = CameraRequest(stored.clip, stored.track)
    camera = stored.made(ask.recipe, lambda job, out: worker.register(ask, job, out))
    path = CameraPath.from_arrays(camera.read_arrays("camera.safetensors"))
    assert (len(path), path.width, path.height) == (FRAMES, WIDTH, HEIGHT)
    assert camera.facts["max_displacement_px"] > 5
    assert camera.facts["registered_fraction"] == 1.0

    mattes = stored.mattes(MattesRequest(stored.shard, stored.track, 0, ""))
    assert mattes.facts == {"first_frame": 0, "frame_count": FRAMES, "empty_count": 0}
    pictures = dict(read_shard(mattes.local_path(MATTES_NAME)))
    assert list(pictures) == list(range(FRAMES))

    order = PlateRequest(stored.clip, camera.ref, [mattes.ref])
    plate = stored.made(order.recipe, lambda job, out: worker.plate(order, job, out))
    assert plate.names() == ["coverage.png", "plate.png", "preview.jpg"]
    assert plate.facts["heldout_error"] < 2.0 < plate.facts["heldout_error_unregistered"]
    coverage = cv2.imdecode(np.frombuffer(plate.read_bytes("coverage.png"), np.uint8), cv2.IMREAD_GRAYSCALE)
    assert coverage is not None
    assert (coverage > 0).mean() == pytest.approx(plate.facts["seen_fraction"], abs=1e-4)


def test_mattes_are_the_same_bytes_again_and_empty_where_the_subject_is_unknown(stored: Stored) -> None:
    valid = np.ones(FRAMES, np.bool_)
    valid[3:7] = False
    track = store_track(stored.artifacts, replace(filmed(FRAMES, step=3).track, valid=valid))
    request = MattesRequest(stored.shard, track, 0, "mediapipe")
    made = stored.mattes(request)
    assert made.facts["empty_count"] == 4
    assert not dict(read_shard(made.local_path(MATTES_NAME)))[4].any()
    stored.artifacts.delete(made.ref)
    assert stored.mattes(request).sha256(MATTES_NAME) == made.sha256(MATTES_NAME)


def test_requests_that_do_not_fit_together_are_refused(stored: Stored, tmp_path: Path) -> None:
    short = store_track(stored.artifacts, filmed(16, drift=0.0).track)
    ask = CameraRequest(stored.clip, short)
    with pytest.raises(InvalidOption, match="16 frames"):
        stored.made(ask.recipe, lambda job, out: stored.worker.register(ask, job, out))
    with pytest.raises(InvalidOption, match="16 frames"):
        stored.mattes(MattesRequest(stored.shard, short, 0, ""))
    with pytest.raises(InvalidOption, match="nonesuch"):
        stored.mattes(MattesRequest(stored.shard, stored.track, 0, "nonesuch"))


def test_a_stopped_job_stops(stored: Stored) -> None:
    job = Job()
    job.stop(Cancelled("nobody waits"))
    request = MattesRequest(stored.shard, stored.track, 0, "")
    with pytest.raises(Cancelled):
        stored.worker.segment(request, job, stored.artifacts.write(stored.worker.mattes_recipe(request)))


def test_people_are_found_by_frame(stored: Stored) -> None:
    pose: NDArray[np.float32] = filmed(FRAMES, step=3).track.keypoints[0]
    shards = [
        store_poses(stored.artifacts, [[pose], [], [pose, pose + 1]]),
        store_poses(stored.artifacts, [[pose + 2]], first_frame=64),
    ]
    people = People(stored.artifacts, shards)
    assert [len(people(index)) for index in (0, 1, 2, 3, 64, 200)] == [1, 0, 2, 0, 1, 0]
    np.testing.assert_array_equal(people(64)[0], pose + 2)


def test_the_subject_is_known_by_its_matte() -> None:
    clip = filmed(FRAMES, step=3)
    pose, alpha = clip.track.keypoints[0], clip.frames[0].alpha
    assert is_subject(pose, alpha)
    other = pose.copy()
    other[:, 0] += 90
    assert not is_subject(other, alpha)
    assert not is_subject(pose, np.zeros_like(alpha))
