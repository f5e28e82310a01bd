"""Which frames a performance has, and which pose each shows."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.common.artifacts import ArtifactRef
from services.common.errors import InvalidOption, NoPersonFound
from services.renderer.worker import RenderRequest, performed_frames, rendered_recipe


def _request(first: int, count: int) -> RenderRequest:
    return RenderRequest(ArtifactRef("performer", "1" * 64), ArtifactRef("driven_track", "2" * 64), first, count)


def test_all_valid_frames_show_themselves() -> None:
    assert performed_frames(np.ones(5, dtype=np.bool_)).tolist() == [0, 1, 2, 3, 4]


def test_ends_are_cut_and_gaps_hold() -> None:
    valid = np.array([0, 1, 1, 0, 0, 1, 0], dtype=np.bool_)
    assert performed_frames(valid).tolist() == [1, 2, 2, 2, 5]


@given(valid=st.lists(st.booleans(), min_size=1, max_size=60).filter(any))
def test_every_shown_pose_is_valid_and_never_from_the_future(valid: list[bool]) -> None:
    flags = np.array(valid, dtype=np.bool_)
    shown = performed_frames(flags)
    frames = np.arange(len(shown)) + int(np.argmax(flags))
    assert flags[shown].all()
    assert (shown <= frames).all()
    assert (shown[flags[frames]] == frames[flags[frames]]).all()


def test_nobody_in_the_source_is_an_error_with_numbers() -> None:
    with pytest.raises(NoPersonFound, match="any of the 7 frames"):
        performed_frames(np.zeros(7, dtype=np.bool_))


def test_requests_have_keys_of_their_own_and_impossible_ones_none() -> None:
    assert rendered_recipe(_request(0, 64)).key != rendered_recipe(_request(64, 64)).key
    assert rendered_recipe(_request(0, 64)).key == rendered_recipe(_request(0, 64)).key
    for first, count in ((-1, 4), (0, 0), (0, 100_000)):
        with pytest.raises(InvalidOption):
            rendered_recipe(_request(first, count))
