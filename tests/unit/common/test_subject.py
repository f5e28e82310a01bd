from __future__ import annotations

import pytest

from services.common.errors import InvalidOption
from services.common.subject import Subject, parse_subject


@pytest.mark.parametrize(
    ("text", "spelling"),
    [
        ("", ""), ("largest", ""), ("1", ""), ("index:0", ""), (" LEFT ", "left"), ("right", "right"),
        ("2", "index:1"), ("index:1", "index:1"), ("640,360", "point:640,360"),
        ("640.5, 360 @ 12", "point:640.5,360@12"),
        ("point:640,360@12", "point:640,360@12"), ("-3,7@0", "point:-3,7@0"),
    ],
)  # fmt: skip
def test_each_wish_has_one_spelling_which_says_the_same(text: str, spelling: str) -> None:
    assert str(parse_subject(text)) == spelling
    assert parse_subject(spelling) == parse_subject(text)


def test_a_point_keeps_its_place_and_its_frame() -> None:
    assert parse_subject("10.5,20@7") == Subject(point=(10.5, 20.0), frame=7)
    assert parse_subject("10,20").frame is None


@pytest.mark.parametrize(
    "text", ["0", "-1", "somebody", "12345", "index:-1", "1,2,3", "1,2@", "1,2@x", "point:", "nan,1"]
)
def test_anything_else_is_refused_with_the_forms(text: str) -> None:
    with pytest.raises(InvalidOption, match="largest, left, right, a number"):
        parse_subject(text)
