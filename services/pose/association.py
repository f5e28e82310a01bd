"""Association: which person of this frame is which of the last, by place and motion alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from services.common.body import CONFIDENT
from services.common.skeleton import BODY

Keypoints = NDArray[np.float32]

# A track that nobody continued for this long has ended.
_PATIENCE_SECONDS = 0.5
# Similarity below which a person does not continue a track (object keypoint similarity, 0..1).
_MINIMUM_SIMILARITY = 0.15
# Tolerance of the similarity, as a fraction of the person's height: between two frames at once, and growing with
# the time between them, since limbs move by about so much a second.
_TOLERANCE = 0.06
_TOLERANCE_PER_SECOND = 0.8
_TOLERANCE_LIMIT = 0.3
_REMEMBERED = 15  # poses


@dataclass
class Tracklet:
    """One person over the frames in which they were found: `frames[i]` holds `poses[i]`, float32 (133, 3)."""

    frames: list[int] = field(default_factory=list)
    poses: list[Keypoints] = field(default_factory=list)

    @property
    def first(self) -> int:
        return self.frames[0]

    @property
    def last(self) -> int:
        return self.frames[-1]


def associate(people: Sequence[Keypoints], frame_rate: float) -> list[Tracklet]:
    """Chains the people of all frames into tracklets.

    people: per frame, float32 (N, 133, 3). Each person continues the tracklet whose predicted pose is most similar,
    best pairs first; the prediction moves the last pose by half of its last velocity. Ordered by first frame.
    """
    tracklets: list[Tracklet] = []
    patience = max(1, round(_PATIENCE_SECONDS * frame_rate))
    for frame, found in enumerate(people):
        alive = [tracklet for tracklet in tracklets if frame - tracklet.last <= patience]
        pairs = sorted(
            (-_similarity(tracklet, pose, (frame - tracklet.last) / frame_rate), i, j)
            for i, tracklet in enumerate(alive)
            for j, pose in enumerate(found)
        )
        taken: set[int] = set()
        continued: set[int] = set()
        for negative, i, j in pairs:
            if -negative < _MINIMUM_SIMILARITY or i in continued or j in taken:
                continue
            continued.add(i)
            taken.add(j)
            alive[i].frames.append(frame)
            alive[i].poses.append(found[j])
        tracklets += [Tracklet([frame], [pose]) for j, pose in enumerate(found) if j not in taken]
    return tracklets


def _similarity(tracklet: Tracklet, pose: Keypoints, seconds: float) -> float:
    last = tracklet.poses[-1]
    known = np.minimum(last[BODY, 2], pose[BODY, 2]) >= CONFIDENT
    if not known.any():
        return 0.0
    distance = np.hypot(*(_predicted(tracklet, seconds) - pose[BODY, :2])[known].T)
    # Of several poses: in a frame that shows but a part of the body the person is no smaller.
    height = max(*(span(each) for each in tracklet.poses[-_REMEMBERED:]), span(pose), 1.0)
    tolerance = height * min(_TOLERANCE + _TOLERANCE_PER_SECOND * seconds, _TOLERANCE_LIMIT)
    return float(np.exp(-((distance / tolerance) ** 2) / 2).mean())


def _predicted(tracklet: Tracklet, seconds: float) -> Keypoints:
    """Body points (17, 2) of the last pose, moved on by the whole body's last velocity, damped."""
    last = tracklet.poses[-1][BODY, :2]
    if len(tracklet.frames) < 2 or tracklet.frames[-1] - tracklet.frames[-2] > 1 or seconds > 0.25:
        return last
    # The median over the body: one joint that jumped must not throw the prediction.
    step = np.median(last - tracklet.poses[-2][BODY, :2], axis=0)
    return np.asarray(last + 0.5 * step, dtype=np.float32)


def span(pose: Keypoints) -> float:
    """Size of a person in px: the longer side of the box round the body points that are known."""
    known = pose[BODY, 2] >= CONFIDENT
    if known.sum() < 2:
        return 0.0
    return float(np.ptp(pose[BODY, :2][known], axis=0).max())
