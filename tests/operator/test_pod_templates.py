"""What `podTemplate` changes in our pods, and what it may not."""

from __future__ import annotations

from typing import Any

import pytest

from tests.operator.stories import Story
from tidemill_operator.cluster import STATEFUL_SET


def driver(**spec: Any) -> dict[str, Any]:
    """The driver's pod with a template of this spec laid over it."""
    story = Story(driver={"podTemplate": {"spec": spec}}).passes()
    assert story.phase == "Pending", story.message
    return dict(story.template()["spec"])


def ours(pod: dict[str, Any]) -> dict[str, Any]:
    return next(c for c in pod["containers"] if c["name"] == "tidemill")


class TestOurPods:
    @pytest.mark.parametrize("which", ["driver", "executor"])
    def test_they_are_as_a_security_review_wants_them(self, which: str) -> None:
        story = Story().passes()
        pod = story.template(*([STATEFUL_SET] if which == "executor" else []))["spec"]
        assert pod["automountServiceAccountToken"] is False
        assert pod["securityContext"]["runAsNonRoot"] is True and pod["securityContext"]["runAsUser"] > 1000
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        context = ours(pod)["securityContext"]
        assert (context["allowPrivilegeEscalation"], context["readOnlyRootFilesystem"]) == (False, True)
        assert context["capabilities"] == {"drop": ["ALL"]}
        assert ours(pod)["resources"]["limits"]["memory"] and ours(pod)["resources"]["requests"]["cpu"]
        assert {"startupProbe", "livenessProbe", "readinessProbe"} <= ours(pod).keys()

    def test_executors_are_spread_over_nodes(self) -> None:
        (spread,) = Story().passes().template(STATEFUL_SET)["spec"]["topologySpreadConstraints"]
        assert spread["topologyKey"] == "kubernetes.io/hostname"

    def test_a_job_says_what_it_needs(self) -> None:
        story = Story(driver={"resources": {"requests": {"cpu": 2}, "limits": {"memory": "8Gi"}}}).passes()
        resources = ours(story.template()["spec"])["resources"]
        assert resources == {"requests": {"cpu": "2"}, "limits": {"memory": "8Gi"}}

    @pytest.mark.parametrize(("cpu", "threads"), [("1500m", "2"), (4, "4"), ("0.5", "1"), ("2k", "2000")])
    def test_an_executor_has_as_many_threads_as_processors(self, cpu: Any, threads: str) -> None:
        story = Story(executor={"resources": {"requests": {"cpu": cpu}}}).passes()
        arguments = ours(story.template(STATEFUL_SET)["spec"])["args"]
        assert arguments[arguments.index("--threads") + 1] == threads


class TestMerging:
    def test_what_is_ours_stays(self) -> None:
        pod = driver(nodeSelector={"disk": "fast"})
        assert pod["nodeSelector"] == {"disk": "fast"}
        assert ours(pod)["args"][0] == "driver"

    def test_environment_is_merged_by_name(self) -> None:
        env = [{"name": "HOME", "value": "/home"}, {"name": "OWN", "value": "1"}]
        found = {
            e["name"]: e["value"] for e in ours(driver(containers=[{"name": "tidemill", "env": env}]))["env"]
        }
        assert (found["HOME"], found["OWN"]) == ("/home", "1")
        assert found["TIDEMILL_SECRETS_DIR"] == "/etc/tidemill/secrets"

    def test_another_container_stands_beside_ours(self) -> None:
        pod = driver(containers=[{"name": "side", "image": "side:1"}])
        assert [c["name"] for c in pod["containers"]] == ["tidemill", "side"]

    def test_volumes_and_mounts_are_added(self) -> None:
        mount = {"name": "models", "mountPath": "/models"}
        pod = driver(
            volumes=[{"name": "models", "persistentVolumeClaim": {"claimName": "models"}}],
            containers=[{"name": "tidemill", "volumeMounts": [mount]}],
        )
        assert "models" in [v["name"] for v in pod["volumes"]] and "job" in [
            v["name"] for v in pod["volumes"]
        ]
        assert mount in ours(pod)["volumeMounts"]

    def test_null_takes_a_field_away(self) -> None:
        pod = driver(
            containers=[{"name": "tidemill", "startupProbe": None}], terminationGracePeriodSeconds=None
        )
        assert "startupProbe" not in ours(pod) and "terminationGracePeriodSeconds" not in pod
        assert "livenessProbe" in ours(pod)

    def test_lists_without_names_are_replaced(self) -> None:
        assert driver(tolerations=[{"operator": "Exists"}])["tolerations"] == [{"operator": "Exists"}]

    def test_labels_are_added_but_never_those_by_which_pods_are_found(self) -> None:
        labels = {"team": "web", "tidemill.dev/job": "another"}
        story = Story(driver={"podTemplate": {"metadata": {"labels": labels}}}).passes()
        found = story.template()["metadata"]["labels"]
        assert (found["team"], found["tidemill.dev/job"]) == ("web", "web-logs")

    @pytest.mark.parametrize("metadata", [None, {"labels": None}])
    def test_labels_that_are_taken_away_stay(self, metadata: Any) -> None:
        story = Story(driver={"podTemplate": {"metadata": metadata}}).passes()
        assert story.template()["metadata"]["labels"]["tidemill.dev/job"] == "web-logs"

    def test_what_may_be_loosened(self) -> None:
        context = {"readOnlyRootFilesystem": False}
        pod = driver(
            containers=[{"name": "tidemill", "securityContext": context}],
            automountServiceAccountToken=True,
            serviceAccountName="own",
            securityContext={
                "runAsUser": 2000,
                "seccompProfile": {"type": "Localhost", "localhostProfile": "x"},
            },
        )
        assert ours(pod)["securityContext"]["readOnlyRootFilesystem"] is False
        assert ours(pod)["securityContext"]["allowPrivilegeEscalation"] is False
        assert pod["securityContext"]["runAsUser"] == 2000


FORBIDDEN = [
    *({key: True} for key in ("hostNetwork", "hostPID", "hostIPC")),
    {"volumes": [{"name": "node", "hostPath": {"path": "/"}}]},
    *(
        {"securityContext": context}
        for context in (
            {"runAsUser": 0},
            {"runAsNonRoot": False},
            {"seccompProfile": {"type": "Unconfined"}},
            None,
            {"runAsNonRoot": None},
            {"runAsUser": None},
            {"seccompProfile": None},
            {"seccompProfile": {"type": None}},
            {"sysctls": [{"name": "kernel.msgmax", "value": "65536"}]},
            {"windowsOptions": {"hostProcess": True}},
        )
    ),
    *(
        {kind: [{"name": name, "image": "side:1", "securityContext": context}]}
        for kind, name in (("containers", "tidemill"), ("containers", "side"), ("initContainers", "first"))
        for context in (
            {"runAsUser": 0},
            {"runAsNonRoot": False},
            {"privileged": True},
            {"allowPrivilegeEscalation": True},
            {"allowPrivilegeEscalation": None},
            {"seccompProfile": {"type": "Unconfined"}},
            {"procMount": "Unmasked"},
            {"seLinuxOptions": {"type": "spc_t"}},
            {"appArmorProfile": {"type": "Unconfined"}},
            {"capabilities": {"add": ["NET_ADMIN"]}},
            {"capabilities": {"drop": []}},
            {"capabilities": {"drop": None}},
            {"capabilities": None},
            None,
            "nonsense",
        )
    ),
    *(
        {kind: [{"name": name, "image": "side:1", "ports": [{"containerPort": 1, "hostPort": 80}]}]}
        for kind, name in (("containers", "tidemill"), ("containers", "side"), ("initContainers", "first"))
    ),
    *({key: value} for key in ("containers", "initContainers", "volumes") for value in (None, {})),
    {"securityContext": {"seLinuxOptions": {"level": "s0"}}},
    {"initContainers": [{"name": "tidemill", "image": "side:1"}]},
]


@pytest.mark.parametrize("which", ["driver", "executor"])
@pytest.mark.parametrize("spec", FORBIDDEN, ids=str)
def test_what_gives_a_pod_power_over_its_node_is_refused(which: str, spec: dict[str, Any]) -> None:
    story = Story(**{which: {"podTemplate": {"spec": spec}}}).passes()
    assert (story.phase, story.did) == ("Refused", [])
    assert story.message.startswith(f"spec.{which}.podTemplate.spec.")


def test_our_container_is_not_taken_away_with_all_the_rest() -> None:
    story = Story(driver={"podTemplate": {"spec": None}}).passes()
    assert (story.phase, story.did) == ("Refused", [])
    assert (
        story.message
        == "spec.driver.podTemplate.spec: expected an object; null would take our container away"
    )


def test_a_job_that_runs_is_not_touched_by_such_an_edit() -> None:
    story = Story().settles().edit(executor={"podTemplate": {"spec": {"hostNetwork": True}}}).passes()
    assert (story.did, story.phase, story.condition("Degraded")) == ([], "Running", "ChangeRefused")
    assert "spec.executor.podTemplate.spec.hostNetwork: true shares the node's own" in story.message


def test_all_that_is_wrong_is_told() -> None:
    story = Story(driver={"podTemplate": {"spec": {"hostPID": True, "hostIPC": True}}}).passes()
    assert "hostPID" in story.message and "hostIPC" in story.message
