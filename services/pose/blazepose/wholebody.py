"""Everyone in a frame as COCO-WholeBody keypoints."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from services.common.inference import new_core
from services.common.skeleton import FACE, KEYPOINT_COUNT, LEFT_HAND, RIGHT_HAND
from services.pose.blazepose.body import Body, BodyLandmarks
from services.pose.blazepose.detector import PersonDetector
from services.pose.blazepose.face import FaceLandmarks
from services.pose.blazepose.hand import HandLandmarks
from services.pose.blazepose.networks import Runtime
from services.pose.blazepose.regions import Image, Pyramid, Region

Floats = NDArray[np.float32]

# COCO-WholeBody keypoint <- BlazePose landmark. BlazePose has no small toes: they stay unknown (confidence 0).
_COCO = (0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 19, 20, 22)
_BLAZE = (0, 2, 5, 7, 8, 11, 12, 13, 14, 15, 16, 23, 24, 25, 26, 27, 28, 31, 29, 32, 30)
# Wrist, little finger and index finger of each hand among BlazePose's landmarks.
_LEFT_ROOTS, _RIGHT_ROOTS = (15, 17, 19), (16, 18, 20)
_PERSON_MINIMUM = 0.5
_SAME_PERSON = 0.1  # of the body's circle: two findings whose landmarks lie nearer than this are one person
_WRIST_TOLERANCE = 0.35  # of the forearm: a hand found farther from its wrist than this is somebody else's


class Person:
    """One person found: keypoints float32 (133, 3) as the project defines them; score 0..1; region that holds them."""

    def __init__(self, keypoints: Floats, score: float, region: Region) -> None:
        self.keypoints, self.score, self.region = keypoints, score, region

    def overlaps(self, other: Person) -> bool:
        """Whether two findings, in one frame or in neighbouring ones, are the same person."""
        known = np.minimum(self.keypoints[:17, 2], other.keypoints[:17, 2]) > 0
        if not known.any():
            return False
        distance = np.hypot(*(self.keypoints[:17, :2] - other.keypoints[:17, :2])[known].T)
        return bool(np.median(distance) < _SAME_PERSON * max(self.region.side, other.region.side))


class WholeBody:
    """Detector, body, hands and face run together. Calls from several threads may overlap."""

    WEIGHTS = (PersonDetector.WEIGHT, BodyLandmarks.WEIGHT, *HandLandmarks.WEIGHTS, FaceLandmarks.WEIGHT)

    def __init__(self, weights_dir: Path, *, threads: int, detector_score: float, most_people: int) -> None:
        runtime = Runtime(new_core(), weights_dir, threads)
        self._detector = PersonDetector(runtime, detector_score)
        self._body = BodyLandmarks(runtime)
        self._hand = HandLandmarks(runtime)
        self._face = FaceLandmarks(runtime)
        self._most_people = most_people

    def find(self, image: Image, *, thorough: bool = False) -> list[Person]:
        """Everyone in an RGB frame, largest first. A pure function of the frame.

        thorough: look at it in tiles too, not only where a look at the whole of it finds nobody.
        """
        frame = Pyramid(image)
        found = self._detector.thorough(frame) if thorough else self._detector.whole(frame)
        bodies = self._bodies(frame, [d.body for d in found])
        if not bodies and not thorough:
            bodies = self._bodies(frame, [d.body for d in self._detector.tiled(frame)])
        return [self._person(frame, body) for body in bodies]

    def find_in(self, image: Image, regions: list[Region]) -> list[Person]:
        """As `find`, looking only where somebody was seen a moment before or after."""
        frame = Pyramid(image)
        return [self._person(frame, body) for body in self._bodies(frame, regions)]

    def _bodies(self, frame: Pyramid, regions: list[Region]) -> list[Body]:
        bodies: list[Body] = []
        for region in regions[: self._most_people]:
            first = self._body(frame, region)
            if first.score < _PERSON_MINIMUM:
                continue
            # Once more in the region that the landmarks themselves ask for: it holds still while the detector jumps.
            body = self._body(frame, first.region)
            if body.score >= _PERSON_MINIMUM and not any(_same_person(body, other) for other in bodies):
                bodies.append(body)
        return sorted(bodies, key=lambda body: -body.region.side)

    def _person(self, frame: Pyramid, body: Body) -> Person:
        keypoints = np.zeros((KEYPOINT_COUNT, 3), dtype=np.float32)
        keypoints[_COCO, :2] = body.points[list(_BLAZE)]
        keypoints[_COCO, 2] = body.confidence[list(_BLAZE)] * body.score
        for part, roots, elbow in ((LEFT_HAND, _LEFT_ROOTS, 13), (RIGHT_HAND, _RIGHT_ROOTS, 14)):
            wrist, little, index = body.points[list(roots)]
            hand = self._hand(frame, wrist, little, index)
            forearm = float(np.hypot(*(wrist - body.points[elbow])))
            off = float(np.hypot(*(hand.points[0] - wrist)))
            reach = max(forearm, 0.05 * body.region.side)
            score = hand.score * float(off < _WRIST_TOLERANCE * reach)
            keypoints[part, :2], keypoints[part, 2] = hand.points, score * body.score
        face = self._face(frame, body.points)
        keypoints[FACE, :2], keypoints[FACE, 2] = face.points, face.score * body.score
        return Person(_bounded(keypoints, frame), body.score, body.region)


def _same_person(body: Body, other: Body) -> bool:
    distance = np.hypot(*(body.points - other.points).T)
    return bool(np.median(distance) < _SAME_PERSON * max(body.region.side, other.region.side))


def _bounded(keypoints: Floats, frame: Pyramid) -> Floats:
    """Confidence falls from 1x at the frame's edge to 0 a twentieth of the frame outside it; unknown points are 0."""
    x, y = keypoints[:, 0], keypoints[:, 1]
    outside = np.maximum.reduce([-x, x - (frame.width - 1), -y, y - (frame.height - 1), np.zeros_like(x)])
    keypoints[:, 2] *= np.clip(1.0 - outside / (0.05 * max(frame.width, frame.height)), 0.0, 1.0)
    keypoints[:, 2] = np.clip(keypoints[:, 2], 0.0, 1.0)
    keypoints[keypoints[:, 2] < 0.01] = 0.0
    return keypoints
