"""Settings: read once from UNDERSTUDY_* variables, validated at the start."""

from __future__ import annotations

from pathlib import Path

import pydantic
import pytest

from services.common.settings import ServiceSettings
from services.common.store import FileObjectStore, MemoryObjectStore


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    monkeypatch.setenv("UNDERSTUDY_STORE_URL", "memory://")
    return monkeypatch


def read(**values: object) -> ServiceSettings:
    return ServiceSettings(**values)  # type: ignore[arg-type]


def test_defaults_listen_on_loopback_only() -> None:
    settings = read()
    assert settings.listen_host == "127.0.0.1"
    assert (settings.listen_port, settings.metrics_port, settings.slots) == (0, 0, 1)
    assert isinstance(settings.open_store(), MemoryObjectStore)


def test_the_environment_decides(environment: pytest.MonkeyPatch, tmp_path: Path) -> None:
    environment.setenv("UNDERSTUDY_STORE_URL", tmp_path.as_uri())
    environment.setenv("UNDERSTUDY_SLOTS", "3")
    environment.setenv("UNDERSTUDY_LOG_FORMAT", "console")
    environment.setenv("SLOTS", "9")
    settings = read()
    assert isinstance(settings.open_store(), FileObjectStore)
    assert (settings.slots, settings.log_format) == (3, "console")


def test_a_missing_store_stops_the_start(environment: pytest.MonkeyPatch) -> None:
    environment.delenv("UNDERSTUDY_STORE_URL")
    with pytest.raises(pydantic.ValidationError, match="store_url"):
        read()
    environment.setenv("UNDERSTUDY_STORE_URL", "")
    with pytest.raises(pydantic.ValidationError, match="store_url"):
        read()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("SLOTS", "0"), ("SLOTS", "many"), ("LISTEN_PORT", "-1"), ("LISTEN_PORT", "65536"), ("METRICS_PORT", "-2"),
        ("GRACE_SECONDS", "-1"), ("LOG_FORMAT", "xml"), ("LOG_LEVEL", "loud"),
    ],
)  # fmt: skip
def test_values_out_of_range_stop_the_start(environment: pytest.MonkeyPatch, name: str, value: str) -> None:
    environment.setenv(f"UNDERSTUDY_{name}", value)
    with pytest.raises(pydantic.ValidationError, match=name.lower()):
        read()


def test_secrets_are_not_printed() -> None:
    settings = read(store_access_key="the-access-key", store_secret_key="the-secret-key")
    for text in (repr(settings), str(settings), settings.model_dump_json()):
        assert "the-access-key" not in text
        assert "the-secret-key" not in text
    assert settings.store_secret_key.get_secret_value() == "the-secret-key"


def test_settings_do_not_change_after_the_start() -> None:
    with pytest.raises(pydantic.ValidationError, match="frozen"):
        read().slots = 2  # type: ignore[misc]
