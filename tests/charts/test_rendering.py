"""What the chart makes is what Kubernetes takes, and hangs together."""

from __future__ import annotations

import functools
import re
from pathlib import Path

import pytest
import yaml

from tests.charts.chart import (
    CHART,
    NAMESPACE,
    ROOT,
    VALUE_SETS,
    Item,
    container,
    notes,
    of,
    one,
    pods,
    render,
    unknown_fields,
    variables,
)
from tidemill.api import load

DEFINITION = "streamingjobs.tidemill.dev"
CLUSTER_WIDE = {"ClusterRole", "ClusterRoleBinding", "CustomResourceDefinition"}


@functools.cache
def rendered(name: str) -> list[Item]:
    return render(*VALUE_SETS[name])


each_set = pytest.mark.parametrize("name", VALUE_SETS)


@each_set
def test_kubernetes_knows_every_field(name: str) -> None:
    assert [field for item in rendered(name) for field in unknown_fields(item)] == []


def test_a_field_that_kubernetes_does_not_know_is_seen() -> None:
    pod = {"apiVersion": "v1", "kind": "Pod", "spec": {"containers": [{"name": "a", "imag": "b"}]}}
    assert unknown_fields(pod) == ["Pod.spec.containers[0].imag"]


@each_set
def test_objects_have_names_of_their_own_and_a_namespace(name: str) -> None:
    keys = [(i["kind"], i["metadata"].get("namespace"), i["metadata"]["name"]) for i in rendered(name)]
    assert len(set(keys)) == len(keys)
    for kind, namespace, called in keys:
        assert (namespace is None) == (kind in CLUSTER_WIDE), (kind, called)
        assert re.fullmatch(r"[a-z0-9]([-a-z0-9.]*[a-z0-9])?", called) and len(called) <= 63


@each_set
def test_what_selects_pods_selects_those_that_are_meant(name: str) -> None:
    items = rendered(name)
    labels = {
        i["metadata"]["name"]: i["spec"]["template"]["metadata"]["labels"]
        for i in [*of(items, "Deployment"), *of(items, "StatefulSet")]
    }
    selectors = [
        (i["metadata"]["name"], i["spec"]["selector"].get("matchLabels", i["spec"]["selector"]))
        for kind in ("Deployment", "StatefulSet", "Service", "PodDisruptionBudget")
        for i in of(items, kind)
    ]
    for owner, selector in selectors:
        assert [pod for pod in labels if selector.items() <= labels[pod].items()] == [owner]


@each_set
def test_accounts_configmaps_and_volumes_that_are_named_are_there(name: str) -> None:
    items = rendered(name)
    for owner, spec in pods(items):
        volumes = {volume["name"] for volume in spec.get("volumes", [])}
        claims = {
            claim["metadata"]["name"]
            for i in of(items, "StatefulSet", owner)
            for claim in i["spec"].get("volumeClaimTemplates", [])
        }
        for each in spec["containers"]:
            assert {mount["name"] for mount in each.get("volumeMounts", [])} <= volumes | claims
        for volume in spec.get("volumes", []):
            if "configMap" in volume:
                assert of(items, "ConfigMap", volume["configMap"]["name"])
    account = one(items, "Deployment")["spec"]["template"]["spec"]["serviceAccountName"]
    made = {i["metadata"]["name"] for i in of(items, "ServiceAccount")}
    assert account in made or (account == "default" and not made)


@each_set
def test_pods_are_as_a_security_review_wants_them(name: str) -> None:
    for owner, spec in pods(rendered(name)):
        assert spec["securityContext"]["runAsNonRoot"] is True
        assert spec["securityContext"]["runAsUser"] == 10001
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert spec["automountServiceAccountToken"] is (owner == "tidemill"), (
            "only the operator needs a token"
        )
        for each in spec["containers"]:
            context = each["securityContext"]
            assert context["readOnlyRootFilesystem"] is True
            assert context["allowPrivilegeEscalation"] is False
            assert context["capabilities"] == {"drop": ["ALL"]}


def test_the_operator_is_started_with_what_the_values_say() -> None:
    items = rendered("to try out")
    assert container(items)["image"] == "ghcr.io/tidemill/tidemill:0.1.0"
    assert variables(items) == {
        "POD_NAMESPACE": {"fieldRef": {"fieldPath": "metadata.namespace"}},
        "TIDEMILL_IMAGE": "ghcr.io/tidemill/tidemill:0.1.0",
        "TIDEMILL_PULL_POLICY": "IfNotPresent",
        "TIDEMILL_CHECKPOINT": f"redis://tidemill-redis.{NAMESPACE}.svc:6379/0",
    }
    assert "TIDEMILL_CHECKPOINT" not in variables(rendered("as it comes"))
    assert variables(rendered("for two teams"))["TIDEMILL_NAMESPACES"] == "team-a,team-b"
    others = rendered("a password in a Secret, an image by digest")
    location = "redis://:${secret:redis/password}@redis:6379/0"
    assert variables(others)["TIDEMILL_CHECKPOINT"] == location  # the reference, not what it stands for
    assert variables(others)["TIDEMILL_IMAGE"] == "registry.example/jobs:1"
    assert container(others)["image"] == f"ghcr.io/tidemill/tidemill@sha256:{'0' * 64}"


def test_two_operators_hold_up_neither_an_upgrade_nor_a_drain() -> None:
    spec = one(rendered("two operators, a Redis with a volume"), "Deployment")["spec"]
    assert spec["strategy"] == {
        "type": "RollingUpdate",
        "rollingUpdate": {"maxSurge": 0, "maxUnavailable": 1},
    }
    assert spec["template"]["spec"]["topologySpreadConstraints"][0]["topologyKey"] == "kubernetes.io/hostname"
    budget = one(rendered("two operators, a Redis with a volume"), "PodDisruptionBudget")
    assert budget["spec"]["maxUnavailable"] == 1
    assert one(rendered("as it comes"), "Deployment")["spec"]["strategy"] == {"type": "Recreate"}
    assert of(rendered("as it comes"), "PodDisruptionBudget") == []


def test_the_definition_is_the_one_of_crds_and_survives_an_uninstall() -> None:
    definition = one(rendered("as it comes"), "CustomResourceDefinition")
    assert definition["metadata"].pop("annotations") == {"helm.sh/resource-policy": "keep"}
    assert definition == yaml.safe_load((ROOT / "crds" / f"{DEFINITION}.yaml").read_text())
    assert of(rendered("for two teams"), "CustomResourceDefinition") == []
    assert not (CHART / "crds").exists(), "Helm never upgrades what is there"


def test_prometheus_finds_the_pods_and_names_the_job() -> None:
    items = rendered("for two teams")
    operator, jobs = sorted(of(items, "PodMonitor"), key=lambda i: str(i["metadata"]["name"]))
    template_ = one(items, "Deployment")["spec"]["template"]
    assert operator["spec"]["selector"]["matchLabels"].items() <= template_["metadata"]["labels"].items()
    assert jobs["spec"]["namespaceSelector"] == {"matchNames": ["team-a", "team-b"]}
    (endpoint,) = jobs["spec"]["podMetricsEndpoints"]
    assert endpoint["port"] == "health"
    assert endpoint["relabelings"] == [
        {"sourceLabels": ["__meta_kubernetes_pod_label_tidemill_dev_job"], "targetLabel": "tidemill_job"}
    ]
    assert template_["metadata"]["annotations"]["prometheus.io/port"] == "9090"
    assert of(rendered("as it comes"), "PodMonitor") == [], "this cluster does not know the kind"
    assert one(rendered("placed"), "PrometheusRule")["metadata"]["labels"]["release"] == "prometheus"


def test_jobs_pods_are_reached_by_jobs_pods_and_by_nobody_else() -> None:
    items = rendered("guarded")
    policy = one(items, "NetworkPolicy", "tidemill-jobs")
    ours = {"app.kubernetes.io/managed-by": "tidemill-operator", "app.kubernetes.io/name": "tidemill"}
    assert policy["metadata"]["namespace"] == "team-a"
    assert policy["spec"]["podSelector"] == {"matchLabels": ours}
    among, health = policy["spec"]["ingress"]
    assert among == {"from": [{"podSelector": {"matchLabels": ours}}]}
    assert health["ports"] == [{"port": 9090, "protocol": "TCP"}]
    operator, monitoring = health["from"]
    assert operator["namespaceSelector"]["matchLabels"] == {"kubernetes.io/metadata.name": NAMESPACE}
    assert monitoring == {"namespaceSelector": {"matchLabels": {"name": "monitoring"}}}
    assert policy["spec"]["egress"][-1] == {"ports": [{"port": 9092, "protocol": "TCP"}]}
    redis = one(rendered("to try out"), "NetworkPolicy", "tidemill-redis")
    (rule,) = redis["spec"]["ingress"]
    assert rule["from"] == [{"namespaceSelector": {}, "podSelector": {"matchLabels": ours}}]


def test_the_job_of_helm_test_is_valid() -> None:
    items = rendered("as it comes")
    manifest = one(items, "ConfigMap", "tidemill-test")["data"]["job.yaml"]
    path = CHART / "files" / "test-job.yaml"
    assert manifest.strip() == path.read_text().strip()
    assert load(path).metadata.name == "helm-test"
    (validate,) = one(items, "Pod", "tidemill-test-job")["spec"]["containers"]
    (ready,) = one(items, "Pod", "tidemill-test-operator")["spec"]["containers"]
    assert validate["args"] == ["validate", "/job/job.yaml"]
    assert ready["args"][-1] == f"http://tidemill.{NAMESPACE}.svc:9090/readyz"
    compile(ready["args"][0], "ask-ready.py", "exec")


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("as it comes", ["kubectl apply -f job.yaml", "there is no place for checkpoints", "no Prometheus operator"]),
        ("to try out", ["one Redis without a replica or a\npassword", "It has no volume"]),
        ("for two teams", ["kubectl -n team-a apply", "crds.install is false"]),
        ("two operators, a Redis with a volume", ["2 operators", "what was not yet synced"]),
        ("next to nothing", ["rbac.create is false"]),
    ],
)  # fmt: skip
def test_the_notes_say_what_comes_next_and_what_to_beware_of(
    name: str, said: list[str], tmp_path: Path
) -> None:
    text = " ".join(notes(*VALUE_SETS[name], tmp_path).split())
    for each in said:
        assert " ".join(each.split()) in text
