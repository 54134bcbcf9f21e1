"""The Kubernetes manifests fit together and to Footnote. No cluster is asked.

`make test-engines` also holds them against the schemas of Kubernetes (tests/engines/test_manifests.py).
"""

import re
import shutil
import subprocess
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
import yaml

from app.settings import PREFIX, load_settings
from tests.app.documentation import GUIDE, find_fault
from tests.app.recipes import DEPLOY, KUBERNETES, manifests, pods, served_paths, size

OBJECTS = manifests()
PODS = {name: pod for name, pod, _ in pods(OBJECTS)}
LABELS = {name: labels for name, _, labels in pods(OBJECTS)}
OURS = [name for name, pod in PODS.items() if pod["containers"][0]["image"] == "footnote"]
CONFIGURED = [name for name in OURS if "envFrom" in PODS[name]["containers"][0]]
KINDS = {
    "ConfigMap": "v1",
    "Namespace": "v1",
    "PersistentVolumeClaim": "v1",
    "Service": "v1",
    "Deployment": "apps/v1",
    "StatefulSet": "apps/v1",
    "PodDisruptionBudget": "policy/v1",
    "Ingress": "networking.k8s.io/v1",
    "NetworkPolicy": "networking.k8s.io/v1",
}
KUBECTL = shutil.which("kubectl")


def of_kind(kind: str) -> list[dict[str, Any]]:
    return [each for each in OBJECTS if each["kind"] == kind]


def named(kind: str) -> dict[str, dict[str, Any]]:
    return {each["metadata"]["name"]: each for each in of_kind(kind)}


def container(name: str) -> dict[str, Any]:
    (only,) = PODS[name]["containers"]
    return dict(only)


def selected(labels: dict[str, str]) -> list[str]:
    """Names of what makes pods with these labels."""
    return [name for name, found in LABELS.items() if labels.items() <= found.items()]


def ports(name: str) -> dict[str, int]:
    return {port["name"]: port["containerPort"] for port in container(name).get("ports", [])}


@pytest.mark.parametrize("each", OBJECTS, ids=lambda each: f"{each['kind']}-{each['metadata']['name']}")
def test_object_is_of_a_kind_that_kubernetes_has(each: dict[str, Any]) -> None:
    assert each["apiVersion"] == KINDS[each["kind"]]
    assert "namespace" not in each["metadata"]  # the kustomization says it once


def test_kustomization_names_every_file_those_on_demand_as_comments() -> None:
    text = (KUBERNETES / "kustomization.yaml").read_text(encoding="utf-8")
    files = {path.name for path in KUBERNETES.glob("*.yaml")} - {"kustomization.yaml"}
    assert files == {line.strip(" #-") for line in text.splitlines() if line.strip(" #-") in files}
    assert set(yaml.safe_load(text)["resources"]) | {"milvus.yaml", "ray.yaml"} == files


@pytest.mark.skipif(KUBECTL is None, reason="there is no kubectl here")
def test_kustomization_can_be_built() -> None:
    done = subprocess.run(
        [str(KUBECTL), "kustomize", str(KUBERNETES)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    built = [each for each in yaml.safe_load_all(done.stdout) if each]
    assert all(
        each["metadata"].get("namespace") == "footnote" for each in built if each["kind"] != "Namespace"
    )
    images = {each["image"] for _, pod, _ in pods(built) for each in pod["containers"]}
    assert all(":" in image.rpartition("/")[2] for image in images)


@pytest.mark.parametrize(
    "each", of_kind("Deployment") + of_kind("StatefulSet"), ids=lambda each: each["metadata"]["name"]
)
def test_pods_have_the_labels_that_are_selected(each: dict[str, Any]) -> None:
    wanted = each["spec"]["selector"]["matchLabels"].items()
    assert wanted <= each["spec"]["template"]["metadata"]["labels"].items()


@pytest.mark.parametrize("service", of_kind("Service"), ids=lambda each: each["metadata"]["name"])
def test_service_leads_to_one_kind_of_pod_and_to_a_port_of_it(service: dict[str, Any]) -> None:
    (found,) = selected(service["spec"]["selector"])
    assert {port["targetPort"] for port in service["spec"]["ports"]} <= ports(found).keys()


@pytest.mark.parametrize("policy", of_kind("NetworkPolicy"), ids=lambda each: each["metadata"]["name"])
def test_policy_is_about_pods_that_exist_and_ports_of_theirs(policy: dict[str, Any]) -> None:
    wanted = policy["spec"]["podSelector"].get("matchLabels", {})
    assert selected(wanted)
    for rule in policy["spec"].get("ingress", []):
        for name in selected(wanted):
            assert {port["port"] for port in rule.get("ports", [])} <= ports(name).keys()
        for peer in rule["from"]:
            assert "podSelector" not in peer or selected(peer["podSelector"]["matchLabels"])


def test_nobody_is_let_in_without_a_policy() -> None:
    policy = named("NetworkPolicy")["nobody-by-default"]["spec"]
    assert policy["podSelector"] == {}
    assert "ingress" not in policy


def test_ingress_and_budget_lead_to_the_api() -> None:
    (rule,) = named("Ingress")["footnote"]["spec"]["rules"]
    backend = rule["http"]["paths"][0]["backend"]["service"]
    service = named("Service")[backend["name"]]
    assert backend["port"]["name"] in {port["name"] for port in service["spec"]["ports"]}
    budget = named("PodDisruptionBudget")["footnote-api"]["spec"]["selector"]["matchLabels"]
    assert selected(budget) == ["footnote-api"]


def settings_of(name: str) -> dict[str, str]:
    """The variables of a container that are written down; `1` for those that the cluster puts in."""
    given: dict[str, str] = {}
    for source in container(name).get("envFrom", []):
        given |= named("ConfigMap")[source["configMapRef"]["name"]]["data"]
    for each in container(name).get("env", []):
        given[each["name"]] = each.get("value", "1")
    return given


@pytest.mark.parametrize("name", CONFIGURED)
def test_settings_are_known_and_accepted(name: str, tmp_path: Path) -> None:
    given = {key: value for key, value in settings_of(name).items() if key.startswith(PREFIX)}
    given["FOOTNOTE_DATABASE_URL"] = "postgresql://footnote:secret@postgres:5432/footnote"
    assert load_settings(given, tmp_path).home == Path("/data")


@pytest.mark.parametrize("name", OURS)
def test_commands_exist(name: str) -> None:
    if "command" not in container(name):
        assert find_fault(container(name)["args"]) is None
    for shown in re.findall(r"footnote (\w+)", " ".join(container(name)["args"])):
        assert find_fault([shown]) is None


@pytest.mark.parametrize("name", PODS)
def test_no_pod_gets_the_addresses_of_services_as_variables(name: str) -> None:
    """A service called `footnote` would set FOOTNOTE_PORT to tcp://..., which stops the start."""
    assert PODS[name]["enableServiceLinks"] is False
    assert PODS[name]["automountServiceAccountToken"] is False


@pytest.mark.parametrize("name", OURS)
def test_pod_is_not_root_and_writes_to_its_volumes_only(name: str) -> None:
    context = PODS[name]["securityContext"]
    assert context["runAsNonRoot"] is True
    assert context["runAsUser"] == context["fsGroup"] == 10001
    assert context["seccompProfile"] == {"type": "RuntimeDefault"}
    own = container(name)["securityContext"]
    assert own["readOnlyRootFilesystem"] is True
    assert own["allowPrivilegeEscalation"] is False
    assert own["capabilities"] == {"drop": ["ALL"]}


@pytest.mark.parametrize("name", PODS)
def test_memory_is_asked_for_and_bounded(name: str) -> None:
    resources = container(name)["resources"]
    assert size(resources["requests"]["memory"]) <= size(resources["limits"]["memory"])
    assert "cpu" in resources["requests"]


@pytest.mark.parametrize("name", OURS)
def test_threads_are_the_cores_of_the_limit(name: str) -> None:
    sources = {each["name"]: each.get("valueFrom") for each in container(name)["env"]}
    if "FOOTNOTE_THREADS" in sources:
        assert sources["FOOTNOTE_THREADS"]["resourceFieldRef"]["resource"] == "limits.cpu"
        assert sources["FOOTNOTE_THREADS"]["resourceFieldRef"]["containerName"] == container(name)["name"]
    assert "cpu" in container(name)["resources"]["limits"]


def test_probes_of_the_api_ask_routes_that_exist() -> None:
    asked = {
        kind: container("footnote-api")[f"{kind}Probe"]["httpGet"]
        for kind in ("startup", "liveness", "readiness")
    }
    assert {probe["path"] for probe in asked.values()} <= served_paths()
    assert asked["readiness"]["path"] == "/health/ready"
    assert (
        asked["liveness"]["path"] == "/health/live"
    )  # else every replica is killed while the database is away
    assert {probe["port"] for probe in asked.values()} <= ports("footnote-api").keys()


def test_port_of_the_api_is_the_one_that_it_listens_on() -> None:
    assert str(ports("footnote-api")["http"]) == settings_of("footnote-api")["FOOTNOTE_PORT"]


def test_what_is_in_flight_has_its_time_at_a_stop() -> None:
    given = settings_of("footnote-api")
    needed = int(given["FOOTNOTE_SHUTDOWN_NOTICE_S"]) + int(given["FOOTNOTE_SHUTDOWN_TIMEOUT_S"]) + 10
    assert PODS["footnote-api"]["terminationGracePeriodSeconds"] >= needed
    readiness = container("footnote-api")["readinessProbe"]
    unready_after = readiness["periodSeconds"] * readiness["failureThreshold"]
    assert int(given["FOOTNOTE_SHUTDOWN_NOTICE_S"]) > unready_after


@pytest.mark.parametrize("name", PODS)
def test_mounted_volumes_are_declared_and_claims_exist(name: str) -> None:
    claims = {each["metadata"]["name"]: each["spec"] for each in OBJECTS if each["kind"] == "StatefulSet"}
    own = {claim["metadata"]["name"] for claim in claims.get(name, {}).get("volumeClaimTemplates", [])}
    declared = {volume["name"]: volume for volume in PODS[name].get("volumes", [])}
    assert {mount["name"] for mount in container(name)["volumeMounts"]} == declared.keys() | own
    for volume in declared.values():
        if claim := volume.get("persistentVolumeClaim"):
            assert claim["claimName"] in named("PersistentVolumeClaim")
        if settings := volume.get("configMap"):
            assert settings["name"] in named("ConfigMap")


def test_data_that_several_machines_write_is_on_a_volume_that_allows_it() -> None:
    assert named("PersistentVolumeClaim")["footnote-home"]["spec"]["accessModes"] == ["ReadWriteMany"]


def test_postgresql_has_room_for_what_it_is_told_to_use() -> None:
    found = container("postgres")
    given = dict(word.removeprefix("-c").split("=", 1) for word in found["args"])
    (shared,) = [each for each in PODS["postgres"]["volumes"] if each["name"] == "shared-memory"]
    assert size(shared["emptyDir"]["sizeLimit"]) >= size(given["maintenance_work_mem"])
    limit = size(found["resources"]["limits"]["memory"])
    assert size(given["shared_buffers"]) + size(given["maintenance_work_mem"]) < limit
    assert size(given["effective_cache_size"]) <= limit


def test_guide_makes_the_secret_with_every_key_that_is_asked_for() -> None:
    wanted = {
        (source["secretKeyRef"]["name"], source["secretKeyRef"]["key"])
        for each in chain.from_iterable(container(name).get("env", []) for name in PODS)
        if "secretKeyRef" in (source := each.get("valueFrom", {}))
    }
    guide = (GUIDE / "scale.md").read_text(encoding="utf-8")
    assert {name for name, _ in wanted} == {"footnote"}
    assert "create secret generic footnote " in guide
    assert all(f"--from-literal={key}=" in guide for _, key in wanted)
    assert of_kind("Secret") == []


@pytest.mark.parametrize("name", [name for name in PODS if name.startswith("ray-")])
def test_ray_reports_its_use_to_nobody(name: str) -> None:
    assert {"name": "RAY_USAGE_STATS_ENABLED", "value": "0"} in container(name)["env"]


def test_only_members_reach_a_member_of_the_ray_cluster() -> None:
    policy = named("NetworkPolicy")["ray-among-itself"]["spec"]
    assert sorted(selected(policy["podSelector"]["matchLabels"])) == ["ray-head", "ray-node"]
    (rule,) = policy["ingress"]
    assert rule == {"from": [{"podSelector": policy["podSelector"]}]}


def test_nodes_join_the_head_that_the_worker_gives_its_work_to() -> None:
    address = settings_of("ray-head")["FOOTNOTE_RAY_ADDRESS"]
    host, _, port = address.partition(":")
    (service,) = [port for port in named("Service")[host]["spec"]["ports"] if port["name"] == "gcs"]
    assert str(service["port"]) == port
    assert f"--address={address}" in container("ray-node")["args"][0]
    assert f"--port={port}" in container("ray-head")["args"][0]


def test_shared_memory_holds_what_ray_keeps_there() -> None:
    for name in ("ray-head", "ray-node"):
        (shared,) = [each for each in PODS[name]["volumes"] if each["name"] == "shared-memory"]
        found = re.search(r"--object-store-memory=(\d+)", container(name)["args"][0])
        assert found is not None
        assert int(found.group(1)) <= size(shared["emptyDir"]["sizeLimit"])


def test_milvus_keeps_its_etcd_to_itself_in_both_recipes() -> None:
    alone = yaml.safe_load((DEPLOY / "embed-etcd.yaml").read_text(encoding="utf-8"))
    assert yaml.safe_load(named("ConfigMap")["milvus-etcd"]["data"]["embed-etcd.yaml"]) == alone
    assert alone["listen-client-urls"] == "http://127.0.0.1:2379"
