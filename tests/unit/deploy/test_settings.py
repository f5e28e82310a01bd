"""The table of settings is what the settings classes say, and says something of each."""

from __future__ import annotations

import pytest

from deploy.settings import FILE, OWN, document
from services.common.settings import ServiceSettings
from tests.repo.tree import STAGES


def test_what_is_committed_is_what_the_classes_say() -> None:
    assert FILE.read_text() == document(), "run python -m deploy.settings"


def test_every_process_is_there() -> None:
    assert set(OWN) == {*STAGES, "gateway", "store-setup"}


@pytest.mark.parametrize("settings", [ServiceSettings, *OWN.values()], ids=lambda each: each.__name__)
def test_every_setting_is_explained(settings: type[ServiceSettings]) -> None:
    assert not [name for name, field in settings.model_fields.items() if not field.description]


def test_no_place_of_this_machine_is_in_it() -> None:
    assert "/tmp" not in FILE.read_text()
    assert "/home" not in FILE.read_text()
