"""Re-poses the source's dance into the target's body, floor and registered camera (DESIGN.md section 5)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from services.common import skeleton as s
from services.common.errors import InvalidOption, NoPersonFound
from services.common.tracks import PoseTrack
from services.normalization.fit import Bounds, bounds_of, keep_above, keep_beside, shrink_to_top
from services.normalization.limbs import rebuild, relative_lengths, with_head
from services.normalization.placement import Placement, place
from services.normalization.stance import Stance, measure

Floats = NDArray[np.float64]

MODES = ("global", "limbs")


@dataclass(frozen=True)
class Driven:
    """track: in the target's registered camera, as long as the source's. scale_close, scale_far: see `place`."""

    track: PoseTrack
    scale_close: float
    scale_far: float
    mode: str
    warnings: list[str]


def normalize(
    source: PoseTrack, source_rate: float, target: PoseTrack, target_rate: float, mode: str = "global"
) -> Driven:
    """The source's track in the target's body and place.

    Args:
        source, target: tracks in their clips' registered cameras.
        source_rate, target_rate: frames a second.
        mode: "global" scales the source's body as a whole and gives it a head of the target's size, "limbs" gives it
            the target's bone lengths.

    Confidences are kept, and invalid frames of the source stay invalid. Raises InvalidOption for another mode,
    NoPersonFound when either track has no valid frame.
    """
    if mode not in MODES:
        raise InvalidOption(f"mode {mode!r} is not one of: {', '.join(MODES)}", mode=mode)
    for role, track in (("source", source), ("target", target)):
        if not track.valid.any():
            raise NoPersonFound(
                f"no person found in {len(track)} of {len(track)} frames of the {role}", role=role,
                frames_without_person=len(track), frame_count=len(track),
            )  # fmt: skip
    mine, theirs = measure(source, source_rate), measure(target, target_rate)
    placement = place(mine, theirs)
    places = _bodies(source, mine, target, theirs, placement, mode)
    places, factor, word = _fitted(places, source, placement, bounds_of(target))
    keypoints = np.concatenate([places, source.keypoints[:, :, 2:]], axis=2).astype(np.float32)
    keypoints[(keypoints[:, :, 2] <= 0) | ~source.valid[:, None]] = 0.0
    track = PoseTrack(keypoints, source.valid.copy(), target.width, target.height)
    scales = placement.scale_close * factor, placement.scale_far * factor
    return Driven(track, *scales, mode, _warnings(mine, theirs, factor, word))


def _bodies(
    source: PoseTrack, mine: Stance, target: PoseTrack, theirs: Stance, placement: Placement, mode: str
) -> Floats:
    """Places (T, 133, 2), standing on the target's floor."""
    points = source.keypoints[:, :, :2].astype(np.float64)
    scale = placement.scale[:, None]
    stand = np.stack([placement.x, placement.floor], axis=1)
    feet = np.stack([mine.x, mine.level], axis=1)
    whole: Floats = stand[:, None] + (points - feet[:, None]) * scale[:, :, None]
    proportions = [
        relative_lengths(track.keypoints[track.valid], stance.height_at(stance.level[track.valid]))
        for track, stance in ((source, mine), (target, theirs))
    ]
    whole = with_head(whole, source.keypoints, proportions[0], proportions[1])
    if mode == "global":
        return whole
    limbs = rebuild(source.keypoints, placement.scale, proportions[0], proportions[1])
    # The rebuilt skeleton is put where the whole one has its feet: same lift off the floor, same place across it.
    offset = _feet_anchor(whole, source.keypoints) - _feet_anchor(limbs, source.keypoints)
    hips = source.keypoints[:, [s.LEFT_HIP, s.RIGHT_HIP], 2].min(axis=1, keepdims=True)
    return np.where(hips[:, :, None] > 0, limbs + offset[:, None], whole)


def _feet_anchor(places: Floats, keypoints: NDArray[np.float32]) -> Floats:
    """(T, 2): x between the ankles and y of the lower one; of the hips where no ankle is known."""
    anchors = []
    for pair in ([s.LEFT_ANKLE, s.RIGHT_ANKLE], [s.LEFT_HIP, s.RIGHT_HIP]):
        known = keypoints[:, pair, 2] > 0
        weight = known / np.maximum(known.sum(axis=1, keepdims=True), 1)
        x = (places[:, pair, 0] * weight).sum(axis=1)
        y = np.where(known, places[:, pair, 1], -np.inf).max(axis=1)
        anchors.append(np.stack([x, np.where(known.any(axis=1), y, 0.0)], axis=1))
    feet_known = np.max(keypoints[:, [s.LEFT_ANKLE, s.RIGHT_ANKLE], 2], axis=1, keepdims=True) > 0
    return np.where(feet_known, anchors[0], anchors[1])


def _fitted(places: Floats, source: PoseTrack, placement: Placement, bounds: Bounds) -> tuple[Floats, float, str]:
    """The places brought inside the bounds; the extra shrinking; a word for the user."""
    valid = source.valid
    confidence = source.keypoints[valid][:, :, 2]
    lift = keep_above(places[valid], confidence, bounds)
    places = places + np.array([0.0, lift])
    stand = np.stack([placement.x, placement.floor + lift], axis=1)[:, None]
    factor = shrink_to_top(places[valid], confidence, stand[valid, 0, 1], bounds)
    places = stand + (places - stand) * factor
    offsets, word = keep_beside(places[valid], confidence, placement.x[valid], bounds)
    places[valid, :, 0] += offsets[:, None]
    return places, factor, word


def _warnings(source: Stance, target: Stance, factor: float, word: str) -> list[str]:
    warnings = [word] if word else []
    if factor < 1:
        warnings.append(f"the dancer was drawn {factor:.0%} as tall as the target, so that raised hands stay in view")
    for role, stance in (("source", source), ("target", target)):
        if not stance.feet_seen:
            warnings.append(f"the feet of the {role} were never seen: the floor was guessed from the hips")
    return warnings
