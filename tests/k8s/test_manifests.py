"""Every overlay without a cluster: the API's own schema, and that each name it uses is one that it has."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import kubernetes_validate
import pytest

from services.common.settings import ServiceSettings
from tests.k8s.manifests import containers, name, of_kind, port_names, selected, selects, templates, walk
from tests.repo.tree import STAGES
from tests.support.kustomize import Object

API_VERSIONS = ("1.31", "1.37")
# Kinds that an operator brings: the API server knows them only where it is installed.
OPERATORS = {"PodMonitor", "PrometheusRule", "ScaledObject", "TriggerAuthentication"}
# What the user of this overlay makes beforehand (deploy/README.md).
BROUGHT = {"gpu": {"understudy-secrets", "understudy-tls"}, "local": set()}


@pytest.mark.parametrize("version", API_VERSIONS)
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_the_api_takes_every_object(objects: list[Object], version: str) -> None:
    known = [each for each in objects if each["kind"] not in OPERATORS]
    assert len(known) > 30
    for each in known:
        kubernetes_validate.validate(each, version, strict=True)


def test_no_object_is_there_twice_or_outside_the_namespace(objects: list[Object]) -> None:
    names = [name(each) for each in objects]
    assert len(set(names)) == len(names)
    assert {each["metadata"].get("namespace") for each in objects if each["kind"] != "Namespace"} == {"understudy"}


def test_selectors_select(objects: list[Object]) -> None:
    for each in of_kind(objects, "Deployment", "StatefulSet"):
        assert set(selected(each["spec"]["selector"], objects)) == {name(each)}
    for each in of_kind(objects, "Service", "PodDisruptionBudget", "PodMonitor"):
        assert selected(each["spec"]["selector"], objects), name(each)
    for owner, template in templates(objects).items():
        for spread in template["spec"].get("topologySpreadConstraints", []):
            assert set(selected(spread["labelSelector"], objects)) == {owner}


def test_services_lead_to_ports_of_their_pods(objects: list[Object]) -> None:
    for each in of_kind(objects, "Service"):
        for template in selected(each["spec"]["selector"], objects).values():
            for port in each["spec"]["ports"]:
                assert port["targetPort"] in port_names(template), name(each)
    services = {each["metadata"]["name"]: each for each in of_kind(objects, "Service")}
    for each in of_kind(objects, "StatefulSet"):
        assert each["spec"]["serviceName"] in services
    for each in of_kind(objects, "Ingress"):
        for backend in (found["service"] for found in walk(each["spec"]) if "service" in found):
            ports = services[backend["name"]]["spec"]["ports"]
            assert backend["port"]["name"] in {port["name"] for port in ports}
    for each in of_kind(objects, "PodMonitor"):
        for template in selected(each["spec"]["selector"], objects).values():
            assert {end["port"] for end in each["spec"]["podMetricsEndpoints"]} <= port_names(template)


def test_addresses_are_services_and_their_ports(objects: list[Object]) -> None:
    services = {each["metadata"]["name"]: each for each in of_kind(objects, "Service")}
    seen = set()
    for each in walk(templates(objects)):
        if str(each.get("name", "")).startswith("UNDERSTUDY_") and str(each["name"]).endswith("_ADDRESS"):
            host, _, port = each["value"].partition(":")
            assert int(port) in {known["port"] for known in services[host]["spec"]["ports"]}
            assert services[host]["spec"]["clusterIP"] == "None"  # so that callers balance over its pods
            seen.add(host)
    assert seen == set(STAGES)


def test_names_of_configuration_and_secrets_exist(objects: list[Object], overlay: str) -> None:
    held = {each["metadata"]["name"]: set(each.get("data", {})) for each in of_kind(objects, "ConfigMap", "Secret")}
    for each in walk(objects):
        for reference in ("configMapRef", "secretKeyRef", "configMapKeyRef"):
            if reference in each and each[reference]["name"] not in BROUGHT[overlay]:
                found = each[reference]
                assert found["name"] in held, found
                assert found.get("key") is None or found["key"] in held[found["name"]], found
    used = {each["secretName"] for each in walk(objects) if "secretName" in each}
    assert used <= {*held, *BROUGHT[overlay]}


def test_the_keys_of_the_secret_that_users_bring_are_written_down(objects: list[Object], repository: Path) -> None:
    documents = (repository / "deploy" / "README.md").read_text()
    keys = {found["key"] for each in walk(objects) if (found := each.get("secretKeyRef"))}
    assert keys
    services = "|".join(stage.upper() for stage in (*STAGES, "gateway"))
    general = {re.sub(rf"UNDERSTUDY_(?:{services})_STORE", "UNDERSTUDY_<SERVICE>_STORE", key) for key in keys}
    assert not {key for key in general if f"`{key}`" not in documents}


def test_volumes_are_declared(objects: list[Object]) -> None:
    for each in of_kind(objects, "Deployment", "StatefulSet", "Job"):
        spec = each["spec"]["template"]["spec"]
        declared = {volume["name"] for volume in spec.get("volumes", [])}
        declared |= {claim["metadata"]["name"] for claim in each["spec"].get("volumeClaimTemplates", [])}
        mounted = {mount["name"] for one in containers(each["spec"]["template"]) for mount in one["volumeMounts"]}
        assert mounted == declared, name(each)


def test_settings_are_settings_of_the_program(objects: list[Object], repository: Path) -> None:
    """A misspelt UNDERSTUDY_ name would be ignored in silence: ask each program's own settings."""
    command = [sys.executable, "-c", _SETTINGS]
    known = set(subprocess.run(command, cwd=repository, check=True, capture_output=True, text=True).stdout.split())
    assert {f"UNDERSTUDY_{field.upper()}" for field in ServiceSettings.model_fields} <= known
    given = {each["name"] for each in walk(templates(objects)) if str(each.get("name", "")).startswith("UNDERSTUDY_")}
    given |= {key for each in of_kind(objects, "ConfigMap") for key in each["data"] if key.startswith("UNDERSTUDY_")}
    assert not given - known


_SETTINGS = """
from deploy.store_setup import StoreSetupSettings
from gateway.config import GatewaySettings
from services.renderer.config import RendererSettings
from services.trainer.config import TrainerSettings
for settings in (StoreSetupSettings, GatewaySettings, RendererSettings, TrainerSettings):
    print(*(f"UNDERSTUDY_{field.upper()}" for field in settings.model_fields))
"""


def test_what_keda_scales_exists_and_has_no_number_of_its_own(objects: list[Object]) -> None:
    deployments = {each["metadata"]["name"]: each for each in of_kind(objects, "Deployment")}
    scaled = {each["spec"]["scaleTargetRef"]["name"] for each in of_kind(objects, "ScaledObject")}
    for target in scaled:
        assert "replicas" not in deployments[target]["spec"]
    authentications = {each["metadata"]["name"] for each in of_kind(objects, "TriggerAuthentication")}
    used = {each["authenticationRef"]["name"] for each in walk(objects) if "authenticationRef" in each}
    assert used == authentications


def test_policies_speak_of_pods_and_ports_that_are_there(objects: list[Object], overlay: str) -> None:
    inside = {"minio": "store", "postgres": "database"} if overlay == "local" else {}
    for policy in of_kind(objects, "NetworkPolicy"):
        if policy["metadata"]["name"] in {"store", "database"} and not inside:
            continue
        subjects = selected(policy["spec"]["podSelector"], objects) if policy["spec"]["podSelector"] else {}
        assert subjects or not policy["spec"]["podSelector"], name(policy)
        for rule in policy["spec"].get("ingress", []):
            ports = set().union(*(port_names(template) for template in subjects.values()))
            assert {port["port"] for port in rule["ports"]} <= ports
        for peer in (found for rule in policy["spec"].get("egress", []) for found in rule["to"]):
            if "podSelector" in peer and "namespaceSelector" not in peer and inside:
                assert selected(peer["podSelector"], objects), name(policy)


def test_two_sides_of_every_connection_agree(objects: list[Object]) -> None:
    """What one pod may send, the other must take in: a connection allowed on one side only is refused."""
    policies = of_kind(objects, "NetworkPolicy")
    for owner, template in templates(objects).items():
        labels = template["metadata"]["labels"]
        for policy in policies:
            if not policy["spec"]["podSelector"] or not selects(policy["spec"]["podSelector"], labels):
                continue
            for rule in policy["spec"].get("egress", []):
                for peer in rule["to"]:
                    if "podSelector" in peer and "namespaceSelector" not in peer:
                        for other in selected(peer["podSelector"], objects).values():
                            assert _takes_in(other, labels, {port["port"] for port in rule["ports"]}, policies), owner


def _takes_in(template: Object, sender: dict[str, str], ports: set[int], policies: list[Object]) -> bool:
    numbers = {port["name"]: port["containerPort"] for each in containers(template) for port in each.get("ports", [])}
    for policy in policies:
        if not policy["spec"]["podSelector"] or not selects(
            policy["spec"]["podSelector"], template["metadata"]["labels"]
        ):
            continue
        for rule in policy["spec"].get("ingress", []):
            peers = rule.get("from")
            known = peers is None or any(selects(peer.get("podSelector", {"none": "none"}), sender) for peer in peers)
            if known and ports <= {numbers.get(port["port"], port["port"]) for port in rule["ports"]}:
                return True
    return False
