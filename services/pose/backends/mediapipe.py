"""The `mediapipe` backend: MediaPipe's pose, hand and face networks, run by OpenVINO on the CPU."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from services.common.skeleton import KEYPOINT_COUNT
from services.common.weights import weights_digest
from services.pose.backends import FramePoses
from services.pose.blazepose.wholebody import Person, WholeBody

Image = NDArray[np.uint8]

_DETECTOR_SCORE = 0.5
_MOST_PEOPLE = 4
# For so many frames somebody whom the detector loses is still looked for where they last were (or will be next): the
# landmarks' own score says when they are gone.
_REACH = 64
# One look at the whole frame tends to see the most prominent person alone: every so many frames the tiles are looked at
# too, and whoever is found there is followed from there.
_THOROUGH_EVERY = 8


class MediaPipeBackend:
    """Whole-body poses of everyone, found frame by frame; gaps are tried again where the neighbours saw somebody.

    The result is a pure function of the frames given, whatever the number of threads.
    """

    def __init__(self, weights_dir: Path, threads: int) -> None:
        self._model = WholeBody(weights_dir, threads=threads, detector_score=_DETECTOR_SCORE, most_people=_MOST_PEOPLE)
        self._threads = threads
        self.digest = f"mediapipe/{weights_digest(WholeBody.WEIGHTS)}"

    def estimate(self, frames: Sequence[Image], on_frame: Callable[[int], None]) -> list[FramePoses]:
        found: list[list[Person]] = []
        waiting: deque[Future[list[Person]]] = deque()
        with ThreadPoolExecutor(self._threads, thread_name_prefix="pose") as pool:
            try:
                for index in range(len(frames)):
                    thorough = index % _THOROUGH_EVERY == 0
                    waiting.append(pool.submit(self._model.find, frames[index], thorough=thorough))
                    # A short queue: frames are large, and an abandoned job must end soon.
                    if len(waiting) > 2 * self._threads:
                        found.append(waiting.popleft().result())
                        on_frame(len(found))
                while waiting:
                    found.append(waiting.popleft().result())
                    on_frame(len(found))
            finally:
                for future in waiting:
                    future.cancel()
        order = range(len(frames))
        self._carry_over(frames, found, order, on_frame)
        self._carry_over(frames, found, order[::-1], on_frame)
        return [_gather(people) for people in found]

    def _carry_over(
        self,
        frames: Sequence[Image],
        found: list[list[Person]],
        order: range,
        on_frame: Callable[[int], None],
    ) -> None:
        """Looks again for people of each frame's neighbour, walking in `order`, and adds those it finds."""
        carried: dict[int, int] = {}  # id of a person found by looking again -> frames since the detector saw them
        for before, now in pairwise(order):
            lost = [
                person
                for person in found[before]
                if carried.get(id(person), 0) < _REACH and not any(person.overlaps(other) for other in found[now])
            ]
            room = _MOST_PEOPLE - len(found[now])
            if not lost or room <= 0:
                continue
            on_frame(len(found))
            for person in lost[:room]:
                for again in self._model.find_in(frames[now], [person.region]):
                    if not any(again.overlaps(other) for other in found[now]):
                        carried[id(again)] = carried.get(id(person), 0) + 1
                        found[now].append(again)
            found[now].sort(key=lambda person: -person.region.side)


def _gather(people: list[Person]) -> FramePoses:
    keypoints = np.array([person.keypoints for person in people], dtype=np.float32)
    scores = np.array([person.score for person in people], dtype=np.float32)
    return FramePoses(keypoints.reshape(-1, KEYPOINT_COUNT, 3), scores)
