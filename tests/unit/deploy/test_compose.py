"""docker-compose.yml without Docker: that it is confined, complete, and names only what there is."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from deploy.make_secrets import KNOWN, RANDOM
from deploy.store_setup import StoreSetupSettings
from gateway.config import STAGE_SERVICES, GatewaySettings
from services.renderer.config import RendererSettings
from services.trainer.config import TrainerSettings

OURS = {*STAGE_SERVICES, "gateway", "store-setup", "weights"}


@pytest.fixture(scope="module")
def text(repository: Path) -> str:
    return (repository / "docker-compose.yml").read_text()


@pytest.fixture(scope="module")
def services(text: str) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(text)["services"]
    return found


def test_all_parts_are_there(services: dict[str, Any]) -> None:
    assert set(services) == OURS | {"minio", "postgres", "prometheus", "grafana"}


def test_every_container_is_confined(services: dict[str, Any]) -> None:
    for name, service in services.items():
        assert service["read_only"] is True, name
        assert service["cap_drop"] == ["ALL"]
        assert service["security_opt"] == ["no-new-privileges:true"]
        assert not {"privileged", "network_mode", "pid", "cap_add"} & service.keys()
        for volume in service["volumes"]:
            assert volume["type"] == "volume" or volume["read_only"], name


def test_no_secret_has_a_default_and_one_command_makes_them_all(text: str) -> None:
    required = set(re.findall(r"\$\{([A-Z_]+):\?run python3 deploy/make_secrets\.py \.env\}", text))
    assert required == set(RANDOM)
    for name, default in re.findall(r"\$\{([A-Z_]+):-([^}]*)\}", text):
        assert name not in {*RANDOM, *KNOWN}
        assert not re.search("PASSWORD|SECRET|KEY", name), default


def test_only_the_downloader_and_the_doors_can_leave(services: dict[str, Any]) -> None:
    outside = {name for name, service in services.items() if "outside" in service["networks"]}
    assert outside == {"downloader", "gateway", "prometheus", "grafana"}
    assert {name for name, service in services.items() if "ports" in service} == outside - {"downloader"}
    for service in services.values():
        assert all(
            port.startswith(("127.0.0.1:", "${UNDERSTUDY_BIND:-127.0.0.1}:")) for port in service.get("ports", [])
        )


def test_settings_are_settings_of_the_program(services: dict[str, Any]) -> None:
    known = {
        f"UNDERSTUDY_{name.upper()}" for each in (GatewaySettings, StoreSetupSettings) for name in each.model_fields
    }
    for name in OURS:
        given = {variable for variable in services[name]["environment"] if variable.startswith("UNDERSTUDY_")}
        assert not given - known, name


def test_each_service_has_its_own_credentials_and_the_gateway_everyones_address(services: dict[str, Any]) -> None:
    for name in (*STAGE_SERVICES, "gateway"):
        environment = services[name]["environment"]
        assert environment["UNDERSTUDY_STORE_ACCESS_KEY"] == name
        assert f"UNDERSTUDY_{name.upper()}_STORE_SECRET_KEY" in environment["UNDERSTUDY_STORE_SECRET_KEY"]
    for name in STAGE_SERVICES:
        assert services["gateway"]["environment"][f"UNDERSTUDY_{name.upper()}_ADDRESS"] == f"{name}:50051"


def test_time_to_stop_in_order_is_given(services: dict[str, Any]) -> None:
    default = GatewaySettings.model_fields["grace_seconds"].default
    for name in (*STAGE_SERVICES, "gateway"):
        assert int(services[name]["stop_grace_period"].removesuffix("s")) > default + 10


def test_the_gpu_override_speaks_of_services_that_are_there(repository: Path, services: dict[str, Any]) -> None:
    override = yaml.safe_load((repository / "deploy" / "compose" / "gpu.yml").read_text())["services"]
    assert set(override) == {"trainer", "renderer"} <= set(services)
    known = {f"UNDERSTUDY_{name.upper()}" for each in (TrainerSettings, RendererSettings) for name in each.model_fields}
    for service in override.values():
        (device,) = service["deploy"]["resources"]["reservations"]["devices"]
        assert device == {"driver": "nvidia", "count": 1, "capabilities": ["gpu"]}
        assert set(service.get("environment", {})) <= known
    assert override["renderer"]["image"] == services["renderer"]["image"].replace("/renderer:", "/renderer-gpu:")
