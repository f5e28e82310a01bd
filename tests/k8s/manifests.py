"""Looking through the objects of an overlay."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tests.support.kustomize import Object

RUNS_PODS = ("Deployment", "StatefulSet", "Job")


def of_kind(objects: list[Object], *kinds: str) -> list[Object]:
    return [each for each in objects if each["kind"] in kinds]


def name(each: Object) -> str:
    """Kind/name."""
    return f"{each['kind']}/{each['metadata']['name']}"


def templates(objects: list[Object]) -> dict[str, Object]:
    """Pod templates by the kind/name of what runs them."""
    return {name(each): each["spec"]["template"] for each in of_kind(objects, *RUNS_PODS)}


def containers(template: Object) -> list[Object]:
    """Of a pod template, those that run first included."""
    spec = template["spec"]
    return [*spec.get("initContainers", []), *spec["containers"]]


def selects(selector: Object, labels: dict[str, str]) -> bool:
    """Whether a label selector (LabelSelector, or a Service's plain map) takes an object with these labels."""
    if "matchLabels" not in selector and "matchExpressions" not in selector:
        selector = {"matchLabels": selector}
    if any(labels.get(key) != value for key, value in selector.get("matchLabels", {}).items()):
        return False
    for rule in selector.get("matchExpressions", []):
        assert rule["operator"] == "In", rule
        if labels.get(rule["key"]) not in rule["values"]:
            return False
    return True


def selected(selector: Object, objects: list[Object]) -> dict[str, Object]:
    """The pod templates that a selector takes."""
    return {
        owner: template
        for owner, template in templates(objects).items()
        if selects(selector, template["metadata"]["labels"])
    }


def port_names(template: Object) -> set[str | int]:
    """Names and numbers of the ports of a pod."""
    ports = [port for container in containers(template) for port in container.get("ports", [])]
    return {port["name"] for port in ports} | {port["containerPort"] for port in ports}


def walk(value: Any) -> Iterator[Object]:
    """Every mapping inside a value."""
    if isinstance(value, dict):
        yield value
        for each in value.values():
            yield from walk(each)
    elif isinstance(value, list):
        for each in value:
            yield from walk(each)
