"""The board: order of stages, states, honest estimates."""

from __future__ import annotations

import time

from gateway.board import JUDGED_FRAMES, RESULT, RESULT_STAGES, SOURCE, STUDY_STAGES, TARGET, TARGET_STAGES, Board
from gateway.resources import StageState


def plan(**rates: float) -> Board:
    return Board.plan("preview", rates, with_training=True)


def test_lists_the_stages_in_the_order_in_which_users_see_them() -> None:
    stages = [(each.role, each.stage) for each in plan().snapshot()]
    assert stages == (
        [(SOURCE, stage) for stage in STUDY_STAGES]
        + [(TARGET, stage) for stage in (*TARGET_STAGES, "evaluation")]
        + [(RESULT, stage) for stage in RESULT_STAGES]
    )


def test_a_draft_is_not_judged() -> None:
    draft = Board.plan("draft", {}, with_training=True)
    assert "evaluation" not in {each.stage for each in draft.snapshot()}


def test_a_named_performer_needs_no_target_stages() -> None:
    board = Board.plan("preview", {}, with_training=False)
    assert {each.role for each in board.snapshot()} == {SOURCE, RESULT}


def test_the_remaining_time_is_unknown_until_the_lengths_are() -> None:
    board = plan()
    assert board.remaining_seconds() == -1
    board.expect(SOURCE, STUDY_STAGES, 100)
    board.expect(TARGET, TARGET_STAGES, 200)
    board.expect(RESULT, RESULT_STAGES, 100)
    assert board.remaining_seconds() > 0


def test_source_and_target_count_side_by_side_and_the_result_after_them() -> None:
    rates = dict.fromkeys(("download", "pose", "camera", "segmentation", "plate"), 1.0)
    rates |= {"training:preview": 1.0, "evaluation": 1.0, "normalization": 1.0, "rendering": 1.0, "encoding": 1.0}
    board = plan(**rates, **{"iterations:preview": 10})
    board.expect(SOURCE, STUDY_STAGES, 5)
    board.expect(TARGET, TARGET_STAGES, 20)
    board.expect(RESULT, RESULT_STAGES, 5)
    assert board.remaining_seconds() == 5 * 20 + 10 + JUDGED_FRAMES + 3 * 5


def test_what_is_done_no_longer_remains() -> None:
    board = plan()
    board.expect(SOURCE, STUDY_STAGES, 100)
    board.expect(TARGET, TARGET_STAGES, 100)
    board.expect(RESULT, RESULT_STAGES, 100)
    before = board.remaining_seconds()
    board.begin(RESULT, "rendering", 100)
    board.update(RESULT, "rendering", 50)
    assert board.remaining_seconds() < before
    for entry in list(board.entries):
        board.begin(*entry)
        board.finish(*entry)
    assert board.remaining_seconds() == 0


def test_updates_never_exceed_the_total_and_finishing_completes() -> None:
    board = plan()
    board.begin(SOURCE, "pose", 64)
    board.add(SOURCE, "pose", 64)
    board.add(SOURCE, "pose", 64)  # a retried call reports again
    entry = board.entries[SOURCE, "pose"].progress
    assert (entry.done, entry.total) == (64, 64)
    board.finish(SOURCE, "pose")
    assert entry.state is StageState.SUCCEEDED


def test_restoring_keeps_what_an_earlier_process_finished() -> None:
    board = plan()
    board.begin(SOURCE, "download", 10)
    board.finish(SOURCE, "download")
    board.begin(SOURCE, "pose", 10)
    again = plan()
    again.restore(board.snapshot())
    states = {(each.role, each.stage): each.state for each in again.snapshot()}
    assert states[SOURCE, "download"] is StageState.SUCCEEDED
    assert states[SOURCE, "pose"] is StageState.PENDING


def test_short_work_is_not_taken_for_this_machines_rate() -> None:
    board = plan()
    board.begin(SOURCE, "pose", 1000)
    board.finish(SOURCE, "pose")  # found committed
    assert board.measured == {}


def test_elapsed_time_counts_only_while_a_stage_works() -> None:
    board = plan()
    board.begin(SOURCE, "camera", 10)
    time.sleep(0.06)
    board.finish(SOURCE, "camera")
    first = board.entries[SOURCE, "camera"].elapsed(time.monotonic())
    time.sleep(0.05)
    assert board.entries[SOURCE, "camera"].elapsed(time.monotonic()) == first > 0.05
