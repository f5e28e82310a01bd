"""One subject's track from the people of all frames: association, choice, repair, smoothing, and what to say."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from services.common.body import CONFIDENT, chain_heights
from services.common.errors import NoPersonFound, PersonTooSmall
from services.common.skeleton import KEYPOINT_COUNT, LEFT_ANKLE, LEFT_SHOULDER, RIGHT_ANKLE
from services.common.subject import parse_subject
from services.common.tracks import PoseTrack
from services.pose.association import associate, span
from services.pose.hands import about_wrists, onto_wrists
from services.pose.repair import fill_gaps, mend_jumps, unswap_limbs
from services.pose.smoothing import smooth
from services.pose.subject import Identity, choose, identities, noticed

Keypoints = NDArray[np.float32]

MINIMUM_HEIGHT_PX = 48.0
"""Nose to ankle. Below it a joint's error is as large as a limb."""
MINIMUM_VALID_FRAMES = 4
"""Fewer poses than this are no dance, and no body to measure."""

# Of the twelve joints from shoulders to ankles so many must be sure, or the frame's pose is not used.
_CORE = slice(LEFT_SHOULDER, RIGHT_ANKLE + 1)
_CORE_MINIMUM = 6

NOBODY = "nobody found"
ELSEWHERE = "others were found, the subject was not"
UNSURE = "too little of the body is visible"


@dataclass(frozen=True)
class InvalidRange:
    """Frames [first_frame, first_frame + frame_count) are not used, because of `reason`."""

    first_frame: int
    frame_count: int
    reason: str


@dataclass(frozen=True)
class Assembled:
    """A track and what is known about it. median_height_px: nose to ankle, of the subject, as filmed."""

    track: PoseTrack
    invalid_ranges: list[InvalidRange]
    people_seen: int
    median_height_px: float
    warnings: list[str]


def assemble(
    people: Sequence[Keypoints], frame_rate: float, width: int, height: int, *, subject: str = "", role: str = "clip"
) -> Assembled:
    """Follows one subject through a clip.

    Args:
        people: for each frame of the clip everyone found in it, float32 (N, 133, 3), N may be 0.
        frame_rate: frames a second.
        width, height: of the frames, px.
        subject: whom to follow, see `services.common.subject`.
        role: the clip's name in messages, "source" or "target".

    Raises NoPersonFound, PersonTooSmall, InvalidOption.
    """
    everyone = identities(associate(people, frame_rate), frame_rate)
    frames_with_people = sum(len(found) > 0 for found in people)
    if not everyone:
        raise _nobody(len(people), len(people), role)
    person = choose(everyone, parse_subject(subject), frame_rate)
    raw, found = _collect(person, len(people))
    size_px = float(np.median([span(pose) for tracklet in person.tracklets for pose in tracklet.poses]))
    repaired, swapped = unswap_limbs(raw, found, size_px, frame_rate)
    repaired, mended = mend_jumps(about_wrists(repaired), found, size_px, frame_rate)
    sure = found & ((repaired[:, _CORE, 2] >= CONFIDENT).sum(axis=1) >= _CORE_MINIMUM)
    filled, valid = fill_gaps(repaired, sure, size_px, frame_rate)
    if valid.sum() < min(MINIMUM_VALID_FRAMES, len(people)):
        raise _nobody(len(people) - int(valid.sum()), len(people), role)
    track = PoseTrack(onto_wrists(smooth(filled, valid, size_px, frame_rate)), valid, width, height)
    height_px = _median_height(track, size_px)
    if height_px < MINIMUM_HEIGHT_PX:
        raise PersonTooSmall(
            f"the person in the {role} is {height_px:.0f} px tall from nose to ankle, at least "
            f"{MINIMUM_HEIGHT_PX:.0f} px are needed: film closer, or use the video in a higher resolution",
            role=role,
            height_px=round(height_px, 1),
            minimum_px=MINIMUM_HEIGHT_PX,
        )
    numbered = noticed(everyone, frame_rate)
    ranges = _invalid_ranges(valid, found, [len(each) > 0 for each in people])
    filled_in = int((valid & ~sure).sum())
    warnings = _warnings(track, person, numbered, role, filled_in, swapped, mended, frames_with_people)
    return Assembled(track, ranges, len(numbered), height_px, warnings)


def _collect(person: Identity, frames: int) -> tuple[Keypoints, NDArray[np.bool_]]:
    keypoints = np.zeros((frames, KEYPOINT_COUNT, 3), dtype=np.float32)
    found = np.zeros(frames, dtype=bool)
    for tracklet in person.tracklets:
        keypoints[tracklet.frames] = np.stack(tracklet.poses)
        found[tracklet.frames] = True
    return keypoints, found


def _median_height(track: PoseTrack, size_px: float) -> float:
    heights = chain_heights(track.keypoints)[track.valid]
    heights = heights[np.isfinite(heights)]
    return float(np.median(heights)) if heights.size else size_px


def _nobody(missing: int, frames: int, role: str) -> NoPersonFound:
    return NoPersonFound(
        f"no person found in {missing} of {frames} frames of the {role}: it must show one person whose body, "
        "from head to feet, is in the picture",
        role=role,
        frames_without_person=missing,
        frame_count=frames,
    )


def _invalid_ranges(valid: NDArray[np.bool_], found: NDArray[np.bool_], anybody: Sequence[bool]) -> list[InvalidRange]:
    ranges: list[InvalidRange] = []
    for frame in np.flatnonzero(~valid).tolist():
        reason = UNSURE if found[frame] else ELSEWHERE if anybody[frame] else NOBODY
        last = ranges[-1] if ranges else None
        if last is not None and last.reason == reason and last.first_frame + last.frame_count == frame:
            ranges[-1] = InvalidRange(last.first_frame, last.frame_count + 1, reason)
        else:
            ranges.append(InvalidRange(frame, 1, reason))
    return ranges


def _warnings(
    track: PoseTrack,
    person: Identity,
    numbered: list[Identity],
    role: str,
    filled: int,
    swapped: int,
    mended: int,
    frames_with_people: int,
) -> list[str]:
    valid, frames = int(track.valid.sum()), len(track)
    warnings = []
    if len(numbered) > 1:
        who = f"number {numbered.index(person) + 1}" if person in numbered else "somebody who is there but briefly"
        warnings.append(
            f"{len(numbered)} people were seen in the {role}; {who} was followed ({person.place(track.width)}, in "
            f"{person.frame_count} of {frames} frames, {person.size_px:.0f} px tall): `understudy people` shows them "
            f"all, --{role}-person NUMBER chooses another"
        )
    if valid < frames:
        warnings.append(
            f"{frames - valid} of {frames} frames of the {role} are not used: somebody was found in "
            f"{frames_with_people} frames, the subject in {person.frame_count}"
        )
    if filled:
        warnings.append(f"{filled} frames of the {role} in which the person was lost for a moment were filled in")
    if swapped:
        warnings.append(f"left and right limbs were told apart anew in {swapped} frames of the {role}")
    ankles = track.keypoints[track.valid][:, [LEFT_ANKLE, RIGHT_ANKLE], 2].max(axis=1)
    hidden = int((ankles < CONFIDENT).sum())
    if hidden > 0.1 * valid:
        warnings.append(f"the feet are not visible in {hidden} of {valid} frames of the {role}")
    if mended > 0.02 * valid * 23:
        warnings.append(f"{mended} joints of the {role} jumped and were drawn through by their neighbours in time")
    return warnings
