"""What an evaluation leaves for people: a table, a contact sheet, and a page that plays the rows side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

import cv2
import numpy as np
from numpy.typing import NDArray

Picture = NDArray[np.uint8]
Table = Mapping[str, Mapping[str, float]]

MEASURES: tuple[tuple[str, str, str], ...] = (
    ("person_ssim", "person SSIM", "higher is closer"),
    ("person_psnr_db", "person PSNR, dB", "higher is closer"),
    ("ssim", "SSIM", "higher is closer"),
    ("psnr_db", "PSNR, dB", "higher is closer"),
    ("sharpness", "sharpness", "1 is the truth's"),
    ("flicker", "flicker, person", "lower is steadier"),
    ("flicker_outside", "flicker, outside", "lower is steadier"),
    ("pose_distance", "pose distance, body heights", "lower is closer"),
    ("missed_poses", "missed poses", "lower is better"),
    ("person_cvvdp_jod", "person ColorVideoVDP, JOD", "10 is the truth's, 1 more is plainly better"),
    ("person_lpips", "person LPIPS", "lower is closer"),
)
"""Name, words, and which way is good; in the order of the table."""
_LABEL_PX = 26
_SHEET_COLUMNS = 6
_PANEL_HEIGHT_PX = 512


def side_by_side(pictures: Sequence[Picture], names: Sequence[str]) -> Picture:
    """One frame of the comparison: the rows' pictures beside each other, each under its name."""
    height = min(_PANEL_HEIGHT_PX, pictures[0].shape[0])
    return np.hstack([_labelled(_of_height(each, height), name) for each, name in zip(pictures, names, strict=True)])


def contact_sheet(rows: Mapping[str, Mapping[int, Picture]], masks: Mapping[int, NDArray[np.bool_]]) -> Picture:
    """Moments from left to right, a row each, cut to where the person is in any of them."""
    frames = sorted(masks)
    moments = [frames[at] for at in np.unique(np.linspace(0, len(frames) - 1, _SHEET_COLUMNS).round().astype(int))]
    anywhere = np.logical_or.reduce([masks[frame] for frame in moments]).astype(np.uint8)
    x, y, width, height = cv2.boundingRect(anywhere)
    lines = []
    for name, pictures in rows.items():
        cells = [pictures[frame][y : y + height, x : x + width] for frame in moments]
        lines.append(_labelled(np.hstack(cells), name))
    return np.vstack(lines)


def page(title: str, table: Table, frame_count: int) -> str:
    """index.html, which needs comparison.mp4, sheet.jpg and evaluation.json beside it and nothing from elsewhere."""
    shown = [measure for measure in MEASURES if any(measure[0] in row for row in table.values())]
    head = "".join(f"<th>{escape(words)}<br><small>{escape(way)}</small></th>" for _, words, way in shown)
    body = "".join(
        f"<tr><th>{escape(name)}</th>"
        + "".join(f"<td>{_number(row.get(measure))}</td>" for measure, _, _ in shown)
        + "</tr>"
        for name, row in table.items()
    )
    return _PAGE.format(title=escape(title), frames=frame_count, head=head, body=body)


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.3g}" if abs(value) < 10 else f"{value:.1f}"


def _of_height(picture: Picture, height: int) -> Picture:
    width = max(1, round(picture.shape[1] * height / picture.shape[0]))
    return np.asarray(cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA), dtype=np.uint8)


def _labelled(picture: Picture, name: str) -> Picture:
    strip = np.full((_LABEL_PX, picture.shape[1], 3), 24, dtype=np.uint8)
    cv2.putText(strip, name, (8, 18), cv2.FONT_HERSHEY_SIMPLEX, 0.5, (240, 240, 240), 1, cv2.LINE_AA)
    return np.vstack([strip, picture])


_PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>{title}</title>
<style>
body {{ font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 1400px; padding: 0 1rem; color: #222 }}
video, img {{ width: 100%; background: #181818 }}
table {{ border-collapse: collapse; width: 100%; margin: 1rem 0 }}
th, td {{ padding: .3rem .6rem; border-bottom: 1px solid #ddd; text-align: right; font-variant-numeric: tabular-nums }}
th:first-child {{ text-align: left }}
small {{ font-weight: normal; color: #666 }}
</style>
<h1>{title}</h1>
<p>{frames} frames of the target that the performer never saw, in its own poses. The pictures of the performer are
synthetic.</p>
<video src="comparison.mp4" controls loop muted autoplay playsinline></video>
<table><tr><th></th>{head}</tr>{body}</table>
<img src="sheet.jpg" alt="moments from left to right, one row each">
<p><a href="evaluation.json">evaluation.json</a></p>
</html>
"""
