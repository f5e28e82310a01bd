"""Backgrounds in the user's words, what goes together, and what the renderer is told."""

from __future__ import annotations

import pytest

from gateway.backgrounds import check_together, further_stages, parse_background, to_background
from gateway.board import Board
from gateway.resources import Ref
from gateway.results import Study
from services.common.errors import InvalidOption
from services.common.recipe import ArtifactRef
from services.renderer.backdrop import Backdrop


def ref(kind: str, digit: str) -> Ref:
    return Ref(kind=kind, key=digit * 64)


def study(digit: str, backdrop: Ref | None = None) -> Study:
    return Study(
        clip=ref("clip", digit), shards=[], first_frames=[], pose_shards=[], track=ref("pose_track", digit),
        camera=ref("camera_path", digit), frame_count=9, valid_frame_count=9, upload_sha256="", warnings=[],
        backdrop=backdrop,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("text", "spelling"),
    [("", ""), ("plate", ""), ("COLOUR:#00FF7f", "colour:#00ff7f"), ("color:00ff7f", "colour:#00ff7f"),
     ("transparent", "transparent"), ("source", "source"), ("clip:abc-1", "clip:abc-1")],
)  # fmt: skip
def test_each_background_has_one_spelling(text: str, spelling: str) -> None:
    assert str(parse_background(text)) == spelling
    assert str(parse_background(spelling)) == spelling


@pytest.mark.parametrize("text", ["beach", "colour:red", "colour:#12", "clip:", "clip:../x", "#00ff00"])
def test_anything_else_is_refused_with_the_forms(text: str) -> None:
    with pytest.raises(InvalidOption, match="colour:#rrggbb, transparent, source"):
        parse_background(text)


def test_what_cannot_be_had_at_once_says_what_to_choose() -> None:
    check_together("", "target", ["mp4"])
    check_together("source", "source", ["mp4"])
    check_together("transparent", "steady", ["webm", "png"])
    with pytest.raises(InvalidOption, match="choose webm, or png"):
        check_together("transparent", "", ["mp4"])
    with pytest.raises(InvalidOption, match="needs the target's place"):
        check_together("colour:#00ff00", "target", [])
    with pytest.raises(InvalidOption, match="needs the background source"):
        check_together("", "source", [])
    with pytest.raises(InvalidOption, match="steady, target, source"):
        check_together("", "shaky", [])


def test_the_plain_transfer_asks_the_renderer_as_before() -> None:
    assert to_background("", "", study("1"), study("2")) is None
    assert to_background("", "steady", study("1"), study("2")) is None


@pytest.mark.parametrize(
    ("background", "camera", "backdrop"),
    [("", "target", None), ("colour:#102030", "", None), ("transparent", "", None), ("clip:a", "", ref("clip", "5")),
     ("source", "", ref("plate", "5")), ("source", "source", ref("plate", "5"))],
)  # fmt: skip
def test_the_renderer_takes_what_it_is_told(background: str, camera: str, backdrop: Ref | None) -> None:
    message = to_background(background, camera, study("1", backdrop), study("2"))
    assert message is not None
    given = {field.name: value for field, value in message.ListFields()}
    refs = {name: ArtifactRef(value.kind, value.key) for name, value in given.items() if name not in {"kind", "colour"}}
    taken = Backdrop(message.kind, message.colour, **refs)
    assert set(taken.inputs()) == {f"background_{name}" for name in refs}, "nothing is told that decides nothing"
    if camera:
        assert refs["camera"].key[0] == ("1" if camera == "source" else "2")


def test_a_board_has_the_rows_that_a_background_takes() -> None:
    for background, rows in (
        ("", []),
        ("source", [("source", "segmentation"), ("source", "plate")]),
        ("clip:a", [("background", "download")]),
    ):
        board = Board.plan("preview", {}, with_training=False, further=further_stages(background))
        assert [row for row in board.entries if row[0] in {"source", "background"}][3:] == rows
        for entry in board.entries.values():
            entry.progress.total = 100
        assert board.remaining_seconds() > 0
