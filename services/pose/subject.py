"""The subject: which of the people in a clip to follow."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from services.common.errors import InvalidOption, NoPersonFound
from services.common.skeleton import BODY
from services.pose.association import Tracklet, span

# Two tracklets are one person who was lost for a while when no more than this lies between them ...
_REJOIN_SECONDS = 3.0
# ... and their sizes differ by no more than this factor.
_REJOIN_SIZE = 1.35
# Somebody seen for less than this is not counted as another person.
_PASSER_BY_SECONDS = 0.5
_POINT = re.compile(r"point:(?P<x>-?[\d.]+),(?P<y>-?[\d.]+)@(?P<frame>\d+)")


@dataclass(frozen=True)
class Identity:
    """One person of the clip: tracklets in order of time that do not overlap."""

    tracklets: tuple[Tracklet, ...]

    @property
    def frame_count(self) -> int:
        return sum(len(tracklet.frames) for tracklet in self.tracklets)

    @property
    def presence(self) -> float:
        """Sum over frames of size (px) times confidence: large, persistent and sure is what it rewards."""
        return float(sum(span(p) * float(p[BODY, 2].mean()) for t in self.tracklets for p in t.poses))

    @property
    def size_px(self) -> float:
        return float(np.median([span(pose) for t in self.tracklets for pose in t.poses]))

    @property
    def centre_x_px(self) -> float:
        return float(np.median([_centre(pose)[0] for t in self.tracklets for pose in t.poses]))


def identities(tracklets: Sequence[Tracklet], frame_rate: float) -> list[Identity]:
    """Tracklets joined into people, the most present first.

    Without looks to go by, a tracklet is taken for the continuation of the one before when the time between is
    short, the size fits, and nobody else could be meant.
    """
    chains: list[list[Tracklet]] = []
    for tracklet in sorted(tracklets, key=lambda t: (t.first, t.last)):
        fitting = [chain for chain in chains if _continues(chain[-1], tracklet, frame_rate)]
        # Of several who were lost, the one lost last; ties by size.
        best = max(fitting, key=lambda chain: (chain[-1].last, _size(chain[-1])), default=None)
        if best is None:
            chains.append([tracklet])
        else:
            best.append(tracklet)
    people = [Identity(tuple(chain)) for chain in chains]
    return sorted(people, key=lambda person: -person.presence)


def count_people(people: Sequence[Identity], frame_rate: float) -> int:
    """How many different people were seen, passers-by of under half a second left out unless there is nobody else."""
    least = _PASSER_BY_SECONDS * frame_rate
    return max(sum(person.frame_count >= least for person in people), min(len(people), 1))


def choose(people: Sequence[Identity], selection: str) -> Identity:
    """The person meant by "", "largest", "left", "right", "index:N" or "point:X,Y@FRAME".

    people: most present first, at least one. Raises InvalidOption for any other word, NoPersonFound when nobody is
    there under that description.
    """
    if selection in {"", "largest"}:
        return people[0]
    if selection in {"left", "right"}:
        # Among those who are there for a good part of the time, so that a passer-by is not picked.
        steady = [person for person in people if person.frame_count >= 0.3 * people[0].frame_count]
        return (min if selection == "left" else max)(steady, key=lambda person: person.centre_x_px)
    if re.fullmatch(r"index:\d+", selection):
        index = int(selection.removeprefix("index:"))
        if index >= len(people):
            raise NoPersonFound(
                f"subject {selection!r}: only {len(people)} people were seen; choose index:0 to "
                f"index:{len(people) - 1}",
                subject=selection,
                people_seen=len(people),
            )
        return people[index]
    match = _POINT.fullmatch(selection)
    if match is None:
        raise InvalidOption(
            f"subject {selection!r} is not one of: largest, left, right, index:N, point:X,Y@FRAME", subject=selection
        )
    return _at_point(people, (float(match["x"]), float(match["y"])), int(match["frame"]), selection)


def _at_point(people: Sequence[Identity], point: tuple[float, float], frame: int, selection: str) -> Identity:
    nearest: tuple[float, Identity] | None = None
    for person in people:
        for tracklet in person.tracklets:
            if frame in tracklet.frames:
                pose = tracklet.poses[tracklet.frames.index(frame)]
                distance = float(np.hypot(*(_centre(pose) - point))) / max(span(pose), 1.0)
                if nearest is None or distance < nearest[0]:
                    nearest = distance, person
    if nearest is None or nearest[0] > 1.0:
        raise NoPersonFound(
            f"subject {selection!r}: nobody was found there; choose a frame and a point that show the person",
            subject=selection,
        )
    return nearest[1]


def _continues(earlier: Tracklet, later: Tracklet, frame_rate: float) -> bool:
    gap = later.first - earlier.last
    if gap <= 0 or gap > _REJOIN_SECONDS * frame_rate:
        return False
    small, large = sorted((_size(earlier), _size(later)))
    return large <= _REJOIN_SIZE * small


def _size(tracklet: Tracklet) -> float:
    return float(np.median([span(pose) for pose in tracklet.poses]))


def _centre(pose: NDArray[np.float32]) -> NDArray[np.float32]:
    known = pose[BODY, 2] > 0
    return np.asarray(pose[BODY, :2][known].mean(axis=0) if known.any() else np.zeros(2), dtype=np.float32)
