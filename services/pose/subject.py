"""The subject: which of the people in a clip to follow."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from services.common.errors import NoPersonFound
from services.common.skeleton import BODY
from services.common.subject import Subject
from services.pose.association import Tracklet, span

# Two tracklets are one person who was lost for a while when no more than this lies between them ...
_REJOIN_SECONDS = 3.0
# ... and their sizes differ by no more than this factor.
_REJOIN_SIZE = 1.35
# ... and, while others are in view, no more than so many of the person's sizes lie between the places.
_REJOIN_REACH = 0.5
_REJOIN_REACH_PER_SECOND = 0.5
# Somebody seen for less than this is not counted as another person.
_PASSER_BY_SECONDS = 0.5


@dataclass(frozen=True, eq=False)
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
        return float(np.median([centre(pose)[0] for t in self.tracklets for pose in t.poses]))

    @property
    def first_frame(self) -> int:
        return self.tracklets[0].first

    @property
    def last_frame(self) -> int:
        return self.tracklets[-1].last

    def place(self, width: int) -> str:
        """ "left", "middle" or "right" third of a picture `width` px wide."""
        return ("left", "middle", "right")[int(np.clip(3 * self.centre_x_px / width, 0, 2))]

    def pose(self, frame: int) -> NDArray[np.float32] | None:
        """float32 (133, 3), or None where the person was not found."""
        for tracklet in self.tracklets:
            if tracklet.first <= frame <= tracklet.last and frame in tracklet.frames:
                return tracklet.poses[tracklet.frames.index(frame)]
        return None


def identities(tracklets: Sequence[Tracklet], frame_rate: float) -> list[Identity]:
    """Tracklets joined into people, the most present first.

    Without looks to go by, a tracklet is taken for the continuation of the one before when the time between is
    short, the size fits, and nobody else could be meant; of several people by where they were.
    """
    chains: list[list[Tracklet]] = []
    for tracklet in sorted(tracklets, key=lambda t: (t.first, t.last)):
        fitting = [chain for chain in chains if _continues(chain[-1], tracklet, frame_rate)]
        if any(chain[-1].first <= tracklet.first <= chain[-1].last for chain in chains):
            # Others are in view: whoever was lost is looked for near where that was, the nearest first.
            near = [(_distance(chain[-1], tracklet, frame_rate), chain) for chain in fitting]
            fitting = [min(near, key=lambda pair: pair[0])[1]] if near and min(d for d, _ in near) <= 1.0 else []
        # Of several who were lost, the one lost last; ties by size.
        best = max(fitting, key=lambda chain: (chain[-1].last, _size(chain[-1])), default=None)
        if best is None:
            chains.append([tracklet])
        else:
            best.append(tracklet)
    people = [Identity(tuple(chain)) for chain in chains]
    return sorted(people, key=lambda person: -person.presence)


def noticed(people: Sequence[Identity], frame_rate: float) -> list[Identity]:
    """Those who are numbered, from 1: passers-by of under half a second are left out unless there is nobody else."""
    least = _PASSER_BY_SECONDS * frame_rate
    return [person for person in people if person.frame_count >= least] or list(people[:1])


def choose(people: Sequence[Identity], subject: Subject, frame_rate: float) -> Identity:
    """The person meant.

    people: most present first, at least one. Raises NoPersonFound when nobody is there under that description.
    """
    numbered = noticed(people, frame_rate)
    if subject.point is not None:
        return _at_point(people, subject.point, subject)
    if subject.side:
        # Among those who are there for a good part of the time, so that a passer-by is not picked.
        steady = [person for person in numbered if person.frame_count >= 0.3 * numbered[0].frame_count]
        return (min if subject.side == "left" else max)(steady, key=lambda person: person.centre_x_px)
    if subject.index >= len(numbered):
        count = "only 1 person was" if len(numbered) == 1 else f"only {len(numbered)} people were"
        raise NoPersonFound(
            f"there is no person {subject.index + 1}: {count} seen; `understudy people` shows them with numbers",
            subject=subject,
            people_seen=len(numbered),
        )
    return numbered[subject.index]


def _at_point(people: Sequence[Identity], point: tuple[float, float], subject: Subject) -> Identity:
    """Who is nearest to the point in the frame, or in the first frame in which it is within somebody's own size."""
    found: list[tuple[int, float, int]] = []
    for number, person in enumerate(people):
        for tracklet in person.tracklets:
            for frame, pose in zip(tracklet.frames, tracklet.poses, strict=True):
                if subject.frame in {None, frame}:
                    distance = float(np.hypot(*(centre(pose) - point))) / max(span(pose), 1.0)
                    found += [(frame, distance, number)] if distance <= 1.0 else []
    if not found:
        raise NoPersonFound(
            f"nobody was found at {subject}; give a point, px, and a frame that show the person, or a number as "
            "`understudy people` shows it",
            subject=subject,
        )
    return people[min(found)[2]]


def _continues(earlier: Tracklet, later: Tracklet, frame_rate: float) -> bool:
    gap = later.first - earlier.last
    if gap <= 0 or gap > _REJOIN_SECONDS * frame_rate:
        return False
    small, large = sorted((_size(earlier), _size(later)))
    return large <= _REJOIN_SIZE * small


def _distance(earlier: Tracklet, later: Tracklet, frame_rate: float) -> float:
    """From where somebody was lost to where somebody is found, as a part of how far a person may have gone since."""
    seconds = (later.first - earlier.last) / frame_rate
    reach = (_REJOIN_REACH + _REJOIN_REACH_PER_SECOND * seconds) * max(_size(earlier), 1.0)
    return float(np.hypot(*(centre(earlier.poses[-1]) - centre(later.poses[0])))) / reach


def _size(tracklet: Tracklet) -> float:
    return float(np.median([span(pose) for pose in tracklet.poses]))


def centre(pose: NDArray[np.float32]) -> NDArray[np.float32]:
    """Mean of the known body points, float32 (2,), px."""
    known = pose[BODY, 2] > 0
    return np.asarray(pose[BODY, :2][known].mean(axis=0) if known.any() else np.zeros(2), dtype=np.float32)
