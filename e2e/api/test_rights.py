"""The operator's rights as the chart gives them: each of them is used, and none is missing.

The real operator works for its service account on an API server of our own, which tells of every question about rights.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from e2e.api.own import ApiServer, Question, Questions
from e2e.api.played import Played
from e2e.api.server import Refused
from tests.charts.chart import NAMESPACE, Item, container, of, one, render, variables
from tests.charts.test_rights import rights
from tests.operator.stories import NAME, PLACE, SPEC, job
from tests.services.parts import dies_with_us, free_ports
from tidemill_operator import leader, names
from tidemill_operator.cluster import CONFIG_MAP, DEPLOYMENT, JOB, LEASE, POD, PURGE, SECRET, STATEFUL_SET
from tidemill_operator.moments import iso
from tidemill_operator.world import ready

PLATFORM = {"jobs": {"checkpoint": {"location": "redis://redis:6379/0"}}, "replicas": 2}
VARIANTS: dict[str, Item] = {
    "everywhere": PLATFORM,
    "in one namespace": PLATFORM | {"watchNamespaces": [PLACE]},
}
PREPARED = (
    "CustomResourceDefinition", "ServiceAccount", "ClusterRole", "ClusterRoleBinding", "Role", "RoleBinding",
)  # fmt: skip
"""Of the chart's objects, those that have to be there before the operator is."""


@pytest.mark.parametrize("variant", VARIANTS)
def test_each_right_is_used_and_none_is_missing(variant: str, tmp_path: Path) -> None:
    items = render(VARIANTS[variant])
    with ApiServer(tmp_path) as server:
        install(server, items)
        with Played(server, PLACE) as cluster, replica(server, items, "first") as first:
            cluster.until(lambda: holder(server) == "first", "the first replica leads")
            with replica(server, items, "second") as second:
                starts(cluster)
                changes(cluster)
                end(first)
                restarts(cluster)
                goes(cluster)
                end(second)
        assert missing(server.questions) == []
        assert list(unused(items, server.questions.asked)) == []


# --- A job's life: the operator makes every call that it has ----------------------------------------------------------


def starts(cluster: Played) -> None:
    """Events say what it waits for."""
    cluster.create(job(conf={"team.token": "${secret:team/token}"}, deletionPolicy="Delete"))
    cluster.until(
        lambda: 'secret "team" not found' in said(cluster, "message"), "its status says what is missing"
    )
    team = {"apiVersion": "v1", "kind": SECRET.name, "metadata": {"name": "team", "namespace": PLACE}}
    cluster.create({**team, "stringData": {"token": "hidden"}})
    runs(cluster, 1)


def changes(cluster: Played) -> None:
    """Of the number of executors, of a query, and of what executors are."""
    cluster.patched(JOB, NAME, {"spec": {"replicas": 2}}, "scale")
    runs(cluster, 2)
    old = said(cluster, "revision")
    edit(cluster, queries=[{**SPEC["queries"][0], "sql": "SELECT value FROM access"}])
    cluster.until(
        lambda: revisions(cluster) == {said(cluster, "revision")} != {old}, "the edit has taken effect"
    )
    runs(cluster, 2)
    before = uids(cluster, names.EXECUTOR)
    edit(cluster, executor={"resources": {"limits": {"memory": "3Gi"}}})
    cluster.until(lambda: not before & uids(cluster, names.EXECUTOR), "all executors have been replaced")
    runs(cluster, 2)


def restarts(cluster: Played) -> None:
    """As asked for, by a lost pod, and after a pause."""
    moment = iso(datetime.now(UTC))
    cluster.patched(JOB, NAME, {"metadata": {"annotations": {names.RESTART_AT: moment}}})
    cluster.until(
        lambda: said(cluster, "restart").get("token") == moment and "finishedAt" in said(cluster, "restart"),
        "the planned restart is done",
    )
    before = uids(cluster, names.DRIVER)
    cluster.remove(cluster.all(POD, names.selector(NAME, names.DRIVER))[0], now=False)
    cluster.until(lambda: not before & uids(cluster, names.DRIVER), "the driver has been replaced")
    runs(cluster, 2)
    edit(cluster, suspend=True)
    cluster.until(lambda: said(cluster, "phase") == "Suspended", "it is suspended")
    edit(cluster, suspend=False)
    runs(cluster, 2)


def goes(cluster: Played) -> None:
    """With its checkpoint, which a Job deletes."""
    cluster.remove(cluster.all(JOB)[0], now=False)
    cluster.until(lambda: bool(cluster.all(PURGE)), "its checkpoint is being deleted")
    cluster.until(lambda: not cluster.all(JOB), "it is gone")


def edit(cluster: Played, **spec: Any) -> None:
    cluster.patched(JOB, NAME, {"spec": spec})


def runs(cluster: Played, executors: int) -> None:
    """With so many of them, and nothing is under way."""

    def done() -> bool:
        pods = cluster.all(POD, names.selector(NAME, names.EXECUTOR))
        well = (said(cluster, "phase"), said(cluster, "readyReplicas")) == ("Running", executors)
        current = {names.label_of(s, names.REVISION) for s in cluster.all(STATEFUL_SET)}
        return well and {names.label_of(p, names.REVISION) for p in pods if ready(p)} == current

    cluster.until(done, f"it runs on {executors}")


def said(cluster: Played, field: str) -> Any:
    """By the job's status; an empty text if nothing."""
    return next((j["status"].get(field, "") for j in cluster.all(JOB)), "")


def revisions(cluster: Played) -> set[str]:
    """That have a driver or a manifest."""
    return {names.label_of(i, names.REVISION) for kind in (DEPLOYMENT, CONFIG_MAP) for i in cluster.all(kind)}


def uids(cluster: Played, component: str) -> set[str]:
    return {p["metadata"]["uid"] for p in cluster.all(POD, names.selector(NAME, component))}


# --- The operator -----------------------------------------------------------------------------------------------------


def install(server: ApiServer, items: list[Item]) -> None:
    """What the chart prepares, and the namespaces of the operator and the job."""
    spaces = [{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": n}} for n in (NAMESPACE, PLACE)]
    for item in [*spaces, *(i for kind in PREPARED for i in of(items, kind))]:
        root = "apis" if "/" in item["apiVersion"] else "api"
        space = item["metadata"].get("namespace")
        within = f"/namespaces/{space}" if space else ""
        server.call("POST", f"/{root}/{item['apiVersion']}{within}/{item['kind'].lower()}s", item)


@contextmanager
def replica(server: ApiServer, items: list[Item], name: str) -> Iterator[subprocess.Popen[bytes]]:
    """The operator as the chart's Deployment starts it; what it says is printed."""
    account = one(items, "Deployment")["spec"]["template"]["spec"]["serviceAccountName"]
    kubeconfig = server.kubeconfig(server.token(NAMESPACE, account))
    given = {key: value for key, value in variables(items).items() if isinstance(value, str)}
    given |= {"KUBECONFIG": str(kubeconfig), "POD_NAMESPACE": NAMESPACE, "HOSTNAME": name}
    own = ["--health-host", "127.0.0.1", "--health-port", str(free_ports(1)[0])]
    command = [*dies_with_us(), sys.executable, "-m", "tidemill", *container(items)["args"], *own]
    log = server.folder / f"{name}.log"
    with open(log, "wb") as file:
        process = subprocess.Popen(command, env={**os.environ, **given}, stdout=file, stderr=file)
    try:
        yield process
    finally:
        process.kill()
        process.wait()
        print(f"--- {name} ---\n{log.read_text()}")


def end(process: subprocess.Popen[bytes]) -> None:
    """In good order."""
    process.terminate()
    assert process.wait(30) == 0


def holder(server: ApiServer) -> str:
    """Of the Lease."""
    try:
        lease = server.call("GET", LEASE.path(NAMESPACE, leader.NAME))
    except Refused:
        return ""
    return str(lease["spec"].get("holderIdentity", ""))


# --- Its rights -------------------------------------------------------------------------------------------------------


def missing(questions: Questions) -> list[str]:
    """What the operator wanted to do and no role allows."""
    return sorted(map(str, questions.refused))


def unused(items: list[Item], asked: Iterable[Question]) -> Iterator[str]:
    """Rights that the chart gives and that nobody has asked for."""
    for binding in [*of(items, "RoleBinding"), *of(items, "ClusterRoleBinding")]:
        space = binding["metadata"].get("namespace", "")
        reference = binding["roleRef"]
        roles = of(items, reference["kind"], reference["name"])
        (role,) = [r for r in roles if r["metadata"].get("namespace", "") == space]
        used = {
            (q.group, resource, q.verb)
            for q in asked
            for resource in (q.resource, f"{q.resource} {q.name}")
            if space in ("", q.namespace)
        }
        for (group, resource), verbs in rights(role).items():
            for verb in sorted(verbs):
                if (group, resource, verb) not in used:
                    yield f"{role['kind']} {role['metadata']['name']}: {verb} {resource}, group '{group}'"
