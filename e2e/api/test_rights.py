"""The operator's rights as the chart gives them: each of them is used, and none is missing.

The real operator works for its service account on an API server of our own, which tells of every question about rights.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from e2e.api.operated import DEFINITION, RIGHTS, holder, install, prepare, replica
from e2e.api.own import ApiServer, Question, Questions
from e2e.api.played import Played
from tests.charts.chart import Item, of, render
from tests.charts.test_rights import rights
from tests.operator.stories import NAME, PLACE, SPEC, job
from tidemill_operator import names
from tidemill_operator.cluster import CONFIG_MAP, DEPLOYMENT, JOB, POD, PURGE, SECRET, STATEFUL_SET
from tidemill_operator.moments import iso
from tidemill_operator.world import ready

PLATFORM = {"jobs": {"checkpoint": {"location": "redis://redis:6379/0"}}, "replicas": 2}
VARIANTS: dict[str, Item] = {
    "everywhere": PLATFORM,
    "in one namespace": PLATFORM | {"watchNamespaces": [PLACE]},
}


@pytest.mark.parametrize("variant", VARIANTS)
def test_each_right_is_used_and_none_is_missing(variant: str, tmp_path: Path) -> None:
    items = render(VARIANTS[variant])
    with ApiServer(tmp_path) as server:
        prepare(server)
        install(server, items, DEFINITION, *RIGHTS)
        with Played(server, PLACE) as cluster, replica(server, items, "first") as first:
            cluster.until(lambda: holder(server) == "first", "the first replica leads")
            with replica(server, items, "second") as second:
                starts(cluster)
                changes(cluster)
                assert first.ends() == 0
                restarts(cluster)
                goes(cluster)
                assert second.ends() == 0
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
