"""What must hold of every pod of every overlay."""

from __future__ import annotations

from tests.k8s.manifests import containers, of_kind, templates
from tests.repo.tree import STAGES
from tests.support.kustomize import Object


def test_the_namespace_enforces_pod_security_restricted(objects: list[Object]) -> None:
    (namespace,) = of_kind(objects, "Namespace")
    assert namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"


def test_pods_are_confined(objects: list[Object]) -> None:
    for owner, template in templates(objects).items():
        spec = template["spec"]
        assert spec["automountServiceAccountToken"] is False, owner
        assert spec["securityContext"]["runAsNonRoot"] is True
        assert spec["securityContext"]["runAsUser"] > 0
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert not {"hostNetwork", "hostPID", "hostIPC"} & spec.keys()
        for container in containers(template):
            assert container["securityContext"] == {
                "readOnlyRootFilesystem": True,
                "allowPrivilegeEscalation": False,
                "capabilities": {"drop": ["ALL"]},
            }, owner


def test_resources_are_said(objects: list[Object]) -> None:
    for owner, template in templates(objects).items():
        for container in containers(template):
            resources = container["resources"]
            assert resources["requests"].keys() >= {"cpu", "memory"}, owner
            assert "memory" in resources["limits"], owner


def test_images_have_a_tag_that_stays(objects: list[Object]) -> None:
    for owner, template in templates(objects).items():
        for container in containers(template):
            image, _, tag = container["image"].rpartition(":")
            assert image, (owner, container["image"])
            assert "/" not in tag
            assert tag != "latest"


def test_what_serves_is_probed_and_leaves_in_order(objects: list[Object]) -> None:
    for each in of_kind(objects, "Deployment", "StatefulSet"):
        spec = each["spec"]["template"]["spec"]
        (server,) = spec["containers"]
        assert server.keys() >= {"startupProbe", "readinessProbe", "livenessProbe"}
        if each["metadata"]["labels"].get("app.kubernetes.io/component") not in {"stage", "gateway"}:
            continue
        given = {variable["name"]: variable.get("value") for variable in server["env"]}
        grace = float(given.get("UNDERSTUDY_GRACE_SECONDS") or 20.0)
        assert spec["terminationGracePeriodSeconds"] > grace + 10, each["metadata"]["name"]
        assert server["readinessProbe"]["grpc"] == {"port": 50051}
        if "grpc" in server["livenessProbe"]:  # a store that is away must restart nobody
            assert server["livenessProbe"]["grpc"]["service"] == "liveness"


def test_every_service_may_be_disrupted_one_pod_at_a_time(objects: list[Object]) -> None:
    budgets = {
        each["spec"]["selector"]["matchLabels"]["app.kubernetes.io/name"]: each["spec"]
        for each in of_kind(objects, "PodDisruptionBudget")
    }
    assert set(budgets) == {*STAGES, "gateway"}
    assert {budget["maxUnavailable"] for budget in budgets.values()} == {1}


def test_a_gateway_keeps_its_executor_id(objects: list[Object]) -> None:
    (gateway,) = (each for each in of_kind(objects, "StatefulSet") if each["metadata"]["name"] == "gateway")
    (server,) = gateway["spec"]["template"]["spec"]["containers"]
    (executor,) = (each for each in server["env"] if each["name"] == "UNDERSTUDY_EXECUTOR_ID")
    assert executor["valueFrom"]["fieldRef"]["fieldPath"] == "metadata.name"


def test_everything_is_denied_first_and_only_the_downloader_may_leave(objects: list[Object], overlay: str) -> None:
    policies = {each["metadata"]["name"]: each["spec"] for each in of_kind(objects, "NetworkPolicy")}
    assert policies["default"] == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    leave = {
        policy
        for policy, spec in policies.items()
        for rule in spec.get("egress", [])
        for peer in rule.get("to", [{"ipBlock": {}}])
        if "ipBlock" in peer
    }
    assert leave == ({"downloader"} if overlay == "local" else {"downloader", "outside"})
    (rule,) = policies["downloader"]["egress"]
    assert policies["downloader"]["podSelector"] == {"matchLabels": {"app.kubernetes.io/name": "downloader"}}
    private = set(rule["to"][0]["ipBlock"]["except"])
    assert private >= {"10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "127.0.0.0/8", "169.254.0.0/16"}


def test_training_and_rendering_ask_for_a_gpu_where_there_are_some(objects: list[Object], overlay: str) -> None:
    asking = {
        owner: container["resources"]["limits"].get("nvidia.com/gpu")
        for owner, template in templates(objects).items()
        for container in containers(template)
        if "nvidia.com/gpu" in container["resources"]["limits"]
    }
    assert asking == ({"Deployment/trainer": 1, "Deployment/renderer": 1} if overlay == "gpu" else {})


def test_who_asks_for_a_gpu_may_go_where_they_are_and_has_an_image_for_it(objects: list[Object], overlay: str) -> None:
    for owner, template in templates(objects).items():
        (limits,) = (each["resources"]["limits"] for each in template["spec"]["containers"])
        tolerated = {each["key"] for each in template["spec"].get("tolerations", [])}
        assert ("nvidia.com/gpu" in tolerated) == ("nvidia.com/gpu" in limits), owner
    (renderer,) = (each for owner, each in templates(objects).items() if owner == "Deployment/renderer")
    image = renderer["spec"]["containers"][0]["image"].rpartition(":")[0].rpartition("/")[2]
    assert image == ("renderer-gpu" if overlay == "gpu" else "renderer")
