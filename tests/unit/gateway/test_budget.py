"""A time for training becomes a number of iterations, the same one each time that it is asked for."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import ValidationError

from gateway.budget import with_iterations
from gateway.cli.options import training_seconds
from gateway.database import Database
from gateway.resources import ClipUse, Transfer, TransferOptions
from services.common.errors import InvalidOption

TARGET = ClipUse(clip_id="target")
TEN_MINUTES = TransferOptions(training_seconds=600.0)


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    opened = Database(f"sqlite:///{tmp_path / 'state.db'}")
    opened.save_stage_rate("training:preview", 0.5)
    yield opened
    opened.close()


def chosen(database: Database, options: TransferOptions, target: ClipUse = TARGET) -> int:
    return with_iterations(options, target, database).iterations


def test_as_many_as_this_installation_does_in_that_time(database: Database) -> None:
    assert chosen(database, TEN_MINUTES) == 1200
    assert with_iterations(TEN_MINUTES, TARGET, database).preset == "preview"  # iterations are of one preset
    assert chosen(database, TransferOptions(training_seconds=0.01)) == 1
    assert chosen(database, TransferOptions()) == 0
    assert chosen(database, TransferOptions(iterations=7)) == 7


def test_the_same_wish_finds_what_it_made_though_rates_have_changed(database: Database) -> None:
    asked = with_iterations(TEN_MINUTES, TARGET, database)
    database.add_transfer(Transfer(id="first", source=ClipUse(clip_id="a"), target=TARGET, options=asked))
    database.save_stage_rate("training:preview", 0.25)
    assert chosen(database, TEN_MINUTES) == 1200
    assert chosen(database, TEN_MINUTES, ClipUse(clip_id="other")) == 2400
    assert chosen(database, TEN_MINUTES.model_copy(update={"seed": 1})) == 2400


def test_what_contradicts_itself_is_refused(database: Database) -> None:
    with pytest.raises(InvalidOption, match="trained already"):
        with_iterations(TEN_MINUTES, None, database)
    with pytest.raises(InvalidOption, match="trained already"):
        with_iterations(TransferOptions(quality_target=0.5), None, database)
    with pytest.raises(InvalidOption, match="either"):
        chosen(database, TransferOptions(training_seconds=5.0, iterations=5))
    with pytest.raises(ValidationError, match="draft"):
        TransferOptions(preset="draft", training_seconds=5.0)
    with pytest.raises(ValidationError, match="draft"):
        TransferOptions(preset="draft", quality_target=0.5)


@pytest.mark.parametrize(("text", "seconds"), [("90s", 90.0), ("20m", 1200.0), ("1.5h", 5400.0), ("", 0.0)])
def test_times_are_written_with_their_unit(text: str, seconds: float) -> None:
    assert training_seconds(text, 0, "", "preview") == seconds


@pytest.mark.parametrize("text", ["20", "0m", "-5m", "m", "5 m", "1e3s"])
def test_other_times_are_refused(text: str) -> None:
    with pytest.raises(InvalidOption, match="--time-budget"):
        training_seconds(text, 0, "", "preview")


@pytest.mark.parametrize(("iterations", "performer", "preset"), [(5, "", ""), (0, "ada", ""), (0, "", "draft")])
def test_a_time_does_not_go_with_what_is_not_trained_or_counted(iterations: int, performer: str, preset: str) -> None:
    with pytest.raises(InvalidOption, match="does not go with"):
        training_seconds("20m", iterations, performer, preset)
