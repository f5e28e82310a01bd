"""Everybody in a clip, numbered: a table, and a contact sheet with a box round each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from services.common.body import CONFIDENT
from services.common.skeleton import BODY, FEET
from services.common.subject import Subject
from services.pose.subject import Identity

Image = NDArray[np.uint8]
Box = tuple[float, float, float, float]

MOST_SHOWN: Final = 12
"""More people than this are listed and not looked for when the sheet's frames are chosen."""
_TILES = 6
_MOST_TILES = 12
_SHEET_WIDTH_PX = 1920
_TILE_HEIGHT_PX = 540
_MARGIN = 0.06  # of the box's longer side: keypoints end at eyes and soles
_COLOURS = (
    (255, 190, 60), (90, 200, 255), (255, 110, 130), (130, 230, 120), (200, 150, 255), (255, 240, 110),
    (100, 240, 215), (255, 160, 220),
)  # fmt: skip
_CAPTION = (245, 245, 245)
_FONT = cv2.FONT_HERSHEY_SIMPLEX


def describe(person: Identity, index: int, width: int) -> dict[str, Any]:
    """The facts of one person (the Person message). index: by presence, from 0. width: of the frames, px."""
    boxes = [box for t in person.tracklets for box in map(box_of, t.poses) if box is not None]
    left, top, right, bottom = np.median(boxes, axis=0).round().astype(int).tolist() if boxes else (0, 0, 0, 0)
    return {
        "number": index + 1,
        "subject": str(Subject(index=index)),
        "frame_count": person.frame_count,
        "first_frame": person.first_frame,
        "last_frame": person.last_frame,
        "size_px": round(person.size_px, 1),
        "place": person.place(width),
        "box": {"x": left, "y": top, "width": right - left, "height": bottom - top},
    }


def box_of(pose: NDArray[np.float32]) -> Box | None:
    """Left, top, right, bottom in px round the sure points of body and feet, with a margin; None without any."""
    points = np.concatenate([pose[BODY], pose[FEET]])
    points = points[points[:, 2] >= CONFIDENT, :2]
    if not len(points):
        return None
    low, high = points.min(axis=0), points.max(axis=0)
    margin = _MARGIN * float((high - low).max())
    return float(low[0]) - margin, float(low[1]) - margin, float(high[0]) + margin, float(high[1]) + margin


def sheet_frames(people: Sequence[Identity]) -> list[int]:
    """Which frames the sheet shows: evenly those with somebody in them, and one more for whoever is in none of them.

    people: at least one. Ascending, at most a dozen.
    """
    seen = sorted({frame for person in people for tracklet in person.tracklets for frame in tracklet.frames})
    even = np.linspace(0, len(seen) - 1, min(_TILES, len(seen))).round().astype(int)
    chosen = {seen[at] for at in even.tolist()}
    for person in people[:MOST_SHOWN]:
        if len(chosen) < _MOST_TILES and all(person.pose(frame) is None for frame in chosen):
            chosen.add(_largest_frame(person))
    return sorted(chosen)


def _largest_frame(person: Identity) -> int:
    sizes = [
        (box[3] - box[1] if (box := box_of(pose)) is not None else 0.0, -frame)
        for tracklet in person.tracklets
        for frame, pose in zip(tracklet.frames, tracklet.poses, strict=True)
    ]
    return -max(sizes)[1]


def contact_sheet(pictures: Mapping[int, Image], people: Sequence[Identity], frame_rate: float) -> Image:
    """The frames side by side in order of time, with everybody's number in a box of their own colour.

    pictures: uint8 (H, W, 3) RGB of one size by frame number, at least one. Returns uint8 RGB, 1920 px wide at most.
    """
    height, width = next(iter(pictures.values())).shape[:2]
    columns = max(1, min(len(pictures), round(_SHEET_WIDTH_PX / (_TILE_HEIGHT_PX * width / height)), 6))
    scale = min(_TILE_HEIGHT_PX / height, _SHEET_WIDTH_PX / columns / width)
    tiles = [
        _tile(picture, [person.pose(frame) for person in people], scale, f"frame {frame}, {frame / frame_rate:.1f} s")
        for frame, picture in sorted(pictures.items())
    ]
    tiles += [np.zeros_like(tiles[0])] * (-len(tiles) % columns)
    return np.vstack([np.hstack(tiles[at : at + columns]) for at in range(0, len(tiles), columns)])


def _tile(picture: Image, poses: Sequence[NDArray[np.float32] | None], scale: float, caption: str) -> Image:
    height, width = picture.shape[:2]
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    tile = np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)
    # From the last to the first, so that the number of whoever is most present lies on top.
    for number, pose in reversed(list(enumerate(poses, start=1))):
        box = box_of(pose) if pose is not None else None
        if box is not None:
            _mark(tile, [round(side * scale) for side in box], str(number), _COLOURS[(number - 1) % len(_COLOURS)])
    _label(tile, (6, size[1] - 8), caption, 0.5, _CAPTION)
    return tile


def _mark(tile: Image, box: list[int], number: str, colour: tuple[int, int, int]) -> None:
    height, width = tile.shape[:2]
    left, right = np.clip([box[0], box[2]], 0, width - 1).tolist()
    top, bottom = np.clip([box[1], box[3]], 0, height - 1).tolist()
    cv2.rectangle(tile, (left, top), (right, bottom), colour, 2, cv2.LINE_AA)
    _label(tile, (left + 5, min(top + 26, height - 6)), number, 0.9, colour)


def _label(tile: Image, at: tuple[int, int], text: str, size: float, colour: tuple[int, int, int]) -> None:
    """Text on a dark ground, its left lower corner at `at`, px."""
    (across, up), below = cv2.getTextSize(text, _FONT, size, 2)
    cv2.rectangle(tile, (at[0] - 4, at[1] - up - 4), (at[0] + across + 4, at[1] + below), (20, 20, 20), cv2.FILLED)
    cv2.putText(tile, text, at, _FONT, size, colour, 1 if size < 0.6 else 2, cv2.LINE_AA)
