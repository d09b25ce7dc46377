"""Whatever users, controllers and failing calls do, in whatever order: in the end all is as the job's spec wants it, and then
the operator writes nothing more. Meanwhile a driver that works is never taken away too early; `Life` looks at that."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    precondition,
    rule,
    run_state_machine_as_test,
)

from tests.operator.kubernetes import Fate
from tests.operator.lives import LONGEST, Life, wrong
from tests.operator.stories import NAME, PLACE, SPEC, job
from tidemill_operator import names
from tidemill_operator.cluster import (
    BUDGET,
    CONFIG_MAP,
    DEPLOYMENT,
    JOB,
    POD,
    PURGE,
    SECRET,
    SERVICE,
    STATEFUL_SET,
    Item,
)
from tidemill_operator.errors import ClusterError
from tidemill_operator.moments import iso

KINDS = (BUDGET, DEPLOYMENT, POD, PURGE, SERVICE, STATEFUL_SET)
"""What anybody may delete, and the operator makes again."""
QUERIES = ("SELECT * FROM access", "SELECT 2 AS a FROM access", "SELECT misfit FROM access")
TROUBLES = {
    "crashes": Fate(exits=1, says="broken"),
    "gets no image": Fate(waiting="ImagePullBackOff", says="not found"),
    "finds no node": Fate(unschedulable=True, says="no room"),
    "hangs": Fate(starts=False),
    "does not end": Fate(unfinished=True),
}
PARTS = (
    "phase",
    "revision",
    "image",
    "restart",
    "certificates",
    "refused",
    "completed",
    "conditions",
    "queries",
)
"""Of a status, that somebody takes away."""


class Cases(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.life: Life | None = None

    @initialize(
        replicas=st.integers(0, 3), policy=st.sampled_from(["Retain", "Delete"]), sql=st.sampled_from(QUERIES)
    )
    def begin(self, replicas: int, policy: str, sql: str) -> None:
        queries = [{**SPEC["queries"][0], "sql": sql}]
        self.life = Life(executor={"replicas": replicas}, deletionPolicy=policy, queries=queries)
        self.well()

    @property
    def cluster(self) -> Any:
        assert self.life is not None
        return self.life.cluster

    def job(self) -> Item | None:
        return None if self.life is None else self.life.job()

    def edit(self, **spec: Any) -> None:
        if (known := self.job()) is not None:
            self.cluster.change(known, lambda j: j["spec"].update(spec))

    # What people do

    @rule(sql=st.sampled_from(QUERIES))
    def edits_the_query(self, sql: str) -> None:
        self.edit(queries=[{**SPEC["queries"][0], "sql": sql}])

    @rule(image=st.sampled_from(["tidemill:1", "tidemill:2"]))
    def edits_the_image(self, image: str) -> None:
        self.edit(image=image)

    @rule(replicas=st.integers(0, 3), memory=st.sampled_from(["2Gi", "4Gi"]))
    def edits_the_executors(self, replicas: int, memory: str) -> None:
        self.edit(executor={"replicas": replicas, "resources": {"limits": {"memory": memory}}})

    @rule(suspend=st.booleans())
    def suspends_or_resumes(self, suspend: bool) -> None:
        self.edit(suspend=suspend)

    @rule(policy=st.sampled_from(["Retain", "Delete"]))
    def edits_what_becomes_of_the_checkpoint(self, policy: str) -> None:
        self.edit(deletionPolicy=policy)

    @rule(
        spec=st.sampled_from(
            [{"driver": {"podTemplate": {"spec": {"hostPID": True}}}}, {"checkpoint": {"id": "b"}}]
        )
    )
    def edits_what_is_refused_and_takes_it_back(self, spec: dict[str, Any]) -> None:
        if (known := self.job()) is None:
            return
        before = known["spec"]
        self.edit(**spec)
        self.time_passes(5)
        if (known := self.job()) is not None:
            self.cluster.change(known, lambda j: j.update(spec=before))

    @rule()
    def asks_for_a_restart(self) -> None:
        assert self.life is not None
        moment = iso(self.life.now())
        if (known := self.job()) is not None:
            self.cluster.change(known, lambda j: j["metadata"].update(annotations={names.RESTART_AT: moment}))

    @rule()
    def deletes_the_job(self) -> None:
        if (known := self.job()) is not None:
            self.cluster.remove(known)

    @precondition(lambda self: self.life is not None and self.job() is None)
    @rule()
    def applies_it_again(self) -> None:
        self.cluster.create(job(executor={"replicas": 2}))

    # What others do

    @rule(kind=st.sampled_from(KINDS), number=st.integers(0, 3))
    def an_object_is_lost(self, kind: Any, number: int) -> None:
        if found := self.cluster.all(kind):
            self.cluster.remove(found[number % len(found)])

    @rule(part=st.sampled_from([*PARTS, ""]))
    def a_part_of_the_status_is_lost(self, part: str) -> None:
        def change(known: Item) -> None:
            if part:
                known.get("status", {}).pop(part, None)
            else:
                known.pop("status", None)

        if (known := self.job()) is not None:
            self.cluster.change(known, change)

    @rule(number=st.integers(0, 9))
    def somebody_scales(self, number: int) -> None:
        for workload in (*self.cluster.all(DEPLOYMENT), *self.cluster.all(STATEFUL_SET)):
            self.cluster.change(workload, lambda w: w["spec"].update(replicas=number % 3))

    @rule()
    def somebody_leads_executors_astray(self) -> None:
        for service in self.cluster.all(SERVICE):
            self.cluster.change(service, lambda s: s["spec"].update(selector={"app": "another"}))

    @rule(kind=st.sampled_from([CONFIG_MAP, DEPLOYMENT, POD]))
    def somebody_makes_what_looks_like_ours(self, kind: Any) -> None:
        component = {DEPLOYMENT: names.DRIVER, POD: names.EXECUTOR}.get(kind)
        labels = names.labels(NAME, component) | {names.REVISION: "00000000"}
        meta = {"name": f"{NAME}-foreign", "namespace": PLACE, "labels": labels}
        pod = {
            "metadata": {"labels": labels},
            "spec": {"containers": [{"name": "tidemill", "image": "other:1"}]},
        }
        body = (
            {"data": {}}
            if kind is CONFIG_MAP
            else pod
            if kind is POD
            else {"spec": {"replicas": 0, "template": pod}}
        )
        if self.cluster.find(kind, PLACE, meta["name"]) is None:
            found = {"apiVersion": kind.api_version, "kind": kind.name, **body, "metadata": meta}
            self.cluster.create({**found, "status": {}})

    @rule(
        which=st.sampled_from(["logs-driver", "logs-executor", "executor-1", "purge"]),
        trouble=st.sampled_from(sorted(TROUBLES)),
    )
    def a_pod_has_trouble(self, which: str, trouble: str) -> None:
        self.cluster.fates[which] = TROUBLES[trouble]

    @rule()
    def well(self) -> None:
        self.cluster.fates = {"misfit": Fate(exits=2, says="it does not fit")}

    # What happens to the operator

    @rule(number=st.integers(0, 12), status=st.sampled_from([0, 403, 404, 409, 422, 500]), late=st.booleans())
    def a_call_fails(self, number: int, status: int, late: bool) -> None:
        left = [number]

        def fails(call: str) -> tuple[ClusterError, bool] | None:
            left[0] -= 1
            if left[0] != -1:
                return None
            # An answer that is lost is no answer.
            return ClusterError(0 if late else status, call, "the test wants it so"), late

        assert self.life is not None
        self.life.failure = fails

    @rule(deaf=st.booleans())
    def its_watch_stops_or_goes_on(self, deaf: bool) -> None:
        assert self.life is not None
        self.life.deaf = deaf

    @rule()
    def its_watch_loses_something(self) -> None:
        self.cluster.told.clear()

    @rule()
    def another_operator_takes_over(self) -> None:
        assert self.life is not None
        self.life.restarts_operator()

    @rule(seconds=st.sampled_from([0.2, 1, 2, 5, 20]))
    def time_passes(self, seconds: float) -> None:
        assert self.life is not None
        self.life.passes(seconds)

    # And then

    @rule()
    def in_the_end_all_is_well(self) -> None:
        assert self.life is not None
        self.well()
        for purge in self.cluster.all(PURGE):
            if purge.get("status", {}).get("failed"):
                self.cluster.remove(purge)  # as its message asks for
        took = self.life.settles()
        assert took < LONGEST / 2
        assert not list(wrong(self.life)), self.job()

    def teardown(self) -> None:
        if self.life is None:
            return
        try:
            self.in_the_end_all_is_well()
        finally:
            self.life.ends()


@pytest.mark.timeout(400)
def test_it_converges() -> None:
    slow = [HealthCheck.too_slow, HealthCheck.data_too_large]
    how = settings(max_examples=60, stateful_step_count=20, deadline=None, suppress_health_check=slow)
    run_state_machine_as_test(Cases, settings=how)


def test_a_job_is_the_only_thing_that_is_never_made_again() -> None:
    assert JOB not in KINDS and SECRET not in KINDS
