"""The real operator, all of it but kopf, beside a cluster in memory, in time that passes at once.

`Life` keeps two promises at every call of the operator: a driver that works is not taken away before another one has said
that the job fits, and no more than two drivers of a job are wanted at any time.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any
from unittest import mock

from tests.operator.apiserver import Cluster, copied
from tests.operator.kubernetes import Kubernetes, owners
from tests.operator.stories import BEGIN, NAME, PLACE, PLATFORM, job
from tests.operator.warp import WarpedLoop
from tidemill_operator import names, reconcile
from tidemill_operator.cluster import CONFIG_MAP, DEPLOYMENT, JOB, POD, STATEFUL_SET, Item
from tidemill_operator.errors import ClusterError
from tidemill_operator.moments import iso
from tidemill_operator.names import MANAGED, MANAGER, REVISION, label_of, name_of
from tidemill_operator.observe import Observer
from tidemill_operator.reconcile import Reconciler
from tidemill_operator.workqueue import WorkQueue
from tidemill_operator.world import leaving

KEY = (PLACE, NAME)
RESYNC = 60.0
"""Instead of ten minutes: what a watch has lost is found then."""
REST = RESYNC + 10
"""Seconds without a write after which an operator is done."""
LONGEST = 1200.0
"""Seconds in which it has to be done."""


class Life:
    """``writes`` are the operator's, with the second of each."""

    def __init__(self, **spec: Any) -> None:
        self.loop = WarpedLoop()
        self.cluster = Kubernetes()
        self.cluster.now = lambda: iso(self.now())
        self.api = Cluster(self.cluster)
        self.api.fails = self._called
        self.failure: Callable[[str], tuple[ClusterError, bool] | None] = lambda call: None
        self.writes: list[tuple[float, str]] = []
        self.broken: list[str] = []
        """Promises that were not kept."""
        self.deaf = False
        """Whether what a watch brings waits."""
        self.cluster.create(job(**spec))
        self.tasks: list[asyncio.Task[Any]] = []
        self._patches = [
            mock.patch.object(reconcile, "RESYNC", RESYNC),
            mock.patch.object(Observer, "_report", self._report),
        ]
        for patch in self._patches:
            patch.start()
        self.loop.run_until_complete(self._begin())

    def now(self) -> datetime:
        return BEGIN + timedelta(seconds=self.loop.time())

    async def _begin(self) -> None:
        self.operator = self._made()
        self.tasks = [
            asyncio.ensure_future(work) for work in (self._operates(), self._watches(), self._lives_on())
        ]

    def _made(self) -> Reconciler:
        made = Reconciler(PLATFORM, clock=self.now)
        made.queue = WorkQueue(self.loop.time)
        return made

    def restarts_operator(self) -> None:
        """Another one, which knows nothing."""
        self.tasks[0].cancel()
        self.operator = self._made()
        self.loop.passes(0)
        self.tasks[0] = self.loop.create_task(self._operates())

    async def _operates(self) -> None:
        while True:
            try:
                await self.operator.run(self.api)  # type: ignore[arg-type]
            except* ClusterError:
                self.operator = self._made()  # its pod is started again
                await asyncio.sleep(1)

    async def _watches(self) -> None:
        """As `handlers` does."""
        while True:
            await asyncio.sleep(0.1)
            while not self.deaf and self.cluster.told:
                what, item = copied(self.cluster.told.pop(0))
                observer = self.operator.observer
                if observer is None or not (item["kind"] == JOB.name or label_of(item, MANAGED) == MANAGER):
                    continue
                key = observer.world.drop(item) if what == "DELETED" else observer.world.put(item)
                if key is not None:
                    self.operator.queue.mark(key)

    async def _lives_on(self) -> None:
        while True:
            await asyncio.sleep(1)
            self.cluster.lives()

    async def _report(self, pod: Item) -> dict[str, Any]:
        return self.cluster.report(pod)

    # What the operator does is looked at before it takes effect

    def _called(self, call: str) -> tuple[ClusterError, bool] | None:
        if call.split()[0] not in ("list", "get"):
            self.writes.append((self.loop.time(), call))
        found = self.failure(call)
        if found is None or found[1]:
            self._check(call)
        return found

    def _check(self, call: str) -> None:
        verb, kind, name = (*call.split(), "")[:3]
        if kind != DEPLOYMENT.name or (found := self.job()) is None:
            return
        uid = found["metadata"]["uid"]
        drivers = {name_of(d): d for d in self.cluster.all(DEPLOYMENT) if uid in owners(d)}
        if verb == "apply" and len({*drivers, name}) > 2:
            self.broken.append(f"{call}: beside {sorted(drivers)}")
        known = self.operator.observer.world.jobs.get(KEY) if self.operator.observer else None
        if verb == "delete" and name in drivers and known is not None:
            self._check_handover(call, drivers[name], known)

    def _check_handover(self, call: str, driver: Item, known: Item) -> None:
        """A driver that holds the checkpoint goes only if it is to, or another one waits for it."""
        status = known.get("status", {})
        done = label_of(driver, REVISION) == (status.get("completed") or {}).get("revision")
        if known["spec"].get("suspend") or leaving(known) or done:
            return
        revision = label_of(driver, REVISION)
        phases = {
            label_of(p, REVISION): self.cluster.phases.get(p["metadata"]["uid"])
            for p in self.cluster.all(POD, names.selector(NAME, names.DRIVER))
            if not leaving(p)
        }
        others = {phase for other, phase in phases.items() if other != revision}
        if phases.get(revision) == "running" and not others & {"standby", "running"}:
            self.broken.append(f"{call}: it runs, beside {phases}")

    # What there is

    def job(self) -> Item | None:
        return self.cluster.find(JOB, PLACE, NAME)

    def passes(self, seconds: float) -> None:
        self.loop.passes(seconds)
        for task in self.tasks:
            if task.done():
                task.result()
        assert not self.broken

    def settles(self) -> float:
        """Until nothing has been written for `REST` seconds; gives the seconds that it took. All is well from now on."""
        self.failure = lambda call: None
        self.deaf = False
        begun = self.loop.time()
        while self.loop.time() < begun + LONGEST:
            self.writes.clear()
            before = copied(self._all())
            self.passes(REST)
            if not self.writes and self._all() == before:
                return self.loop.time() - begun - REST
        raise AssertionError(f"not done after {LONGEST} s: {self.writes[-20:]}, {self.job()}")

    def _all(self) -> Any:
        return [self.cluster.objects, self.cluster.phases]

    def ends(self) -> None:
        self.loop.ends()
        for patch in self._patches:
            patch.stop()


@contextmanager
def life(**spec: Any) -> Iterator[Life]:
    made = Life(**spec)
    try:
        yield made
    finally:
        made.ends()


def wrong(made: Life) -> Iterator[str]:
    """What is not as the job's spec wants it, once all is quiet."""
    cluster, wanted = made.cluster, made.job()
    if wanted is None:
        others = {i["metadata"]["uid"] for i in cluster.objects.values() if not owners(i)}
        ours = (i for i in cluster.objects.values() if owners(i) and not others & set(owners(i)))
        yield from (f"{name_of(i)} is still there" for i in ours)
        return
    spec, status = wanted["spec"], wanted.get("status", {})
    drivers = [label_of(d, REVISION) for d in cluster.all(DEPLOYMENT)]
    executors = cluster.all(POD, names.selector(NAME, names.EXECUTOR))
    if status.get("observedGeneration") != wanted["metadata"]["generation"]:
        yield "the last edit has not been seen"
    if spec.get("suspend"):
        if drivers or executors or status["phase"] != "Suspended":
            yield f"it is suspended: {drivers} {len(executors)} {status['phase']}"
        return
    if drivers != [status.get("revision")]:
        yield f"drivers {drivers}, and active is {status.get('revision')}"
        return
    yield from _wrong_driver(cluster, spec, status, drivers[0])
    yield from _wrong_executors(cluster, spec, status, executors)


def _wrong_driver(cluster: Kubernetes, spec: Item, status: Item, revision: str) -> Iterator[str]:
    configs = [label_of(c, REVISION) for c in cluster.all(CONFIG_MAP)]
    if configs != [revision]:
        yield f"manifests of {configs}, and active is {revision}"
    service = cluster.find_service(names.driver_service(NAME))
    if service["spec"]["selector"] != names.selector(NAME, names.DRIVER) | {REVISION: revision}:
        yield f"executors are led to {service['spec']['selector']}"
    runs = cluster.manifest_of(revision)
    fits = "misfit" not in str(spec["queries"]) and spec.get("checkpoint") == runs.get("checkpoint")
    if fits and spec["queries"] != runs["queries"]:
        yield f"{spec['queries']} is asked for, and {runs['queries']} runs"
    well = "Running" if spec["executor"]["replicas"] else "Starting"
    expected = ("Failing" if "misfit" in str(runs) else well, not fits)
    degraded = any(c["type"] == "Degraded" and c["status"] == "True" for c in status["conditions"])
    if (status["phase"], degraded) != expected:
        yield f"{status['phase']}, degraded {degraded}: {status['message']}"


def _wrong_executors(cluster: Kubernetes, spec: Item, status: Item, executors: list[Item]) -> Iterator[str]:
    (workload,) = cluster.all(STATEFUL_SET)
    replicas = spec["executor"]["replicas"]
    if (workload["spec"]["replicas"], len(executors)) != (replicas, replicas):
        yield f"{len(executors)} of {workload['spec']['replicas']} executors, {replicas} wanted"
    revision = label_of(workload, REVISION)
    if any(label_of(p, REVISION) != revision for p in executors):
        yield "executors of several revisions"
    if status["phase"] == "Running" and status["readyReplicas"] != replicas:
        yield f"{status['readyReplicas']} executors are ready"
