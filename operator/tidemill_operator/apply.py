"""Does: carries decisions out against the API server, and tells of them."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from tidemill_operator import certificates, status
from tidemill_operator.actions import Action, Apply, Decision, Delete, Event, MakeCertificates, Patch
from tidemill_operator.cluster import JOB, Cluster, Item
from tidemill_operator.desired import objects
from tidemill_operator.errors import ClusterError
from tidemill_operator.moments import iso
from tidemill_operator.names import MANAGER, name_of
from tidemill_operator.world import Observed, World, leaving

log = logging.getLogger("tidemill.operator")


class Applier:
    """``world`` learns at once what a write has answered, so that the next pass does not write it again."""

    def __init__(
        self,
        cluster: Cluster,
        world: World,
        figures: float,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self.cluster, self.world, self.figures, self.clock = cluster, world, figures, clock

    async def apply(self, seen: Observed, decision: Decision) -> None:
        """The status is written before what it tells of is done: a crash in between repeats the actions, which are the same
        again. Only certificates come first: they are of use to nobody before the status names them, and once it does
        nobody could tell whether they had been written. Raises `ClusterError` at the first action that fails."""
        job = seen.job
        for action in decision.actions:
            if isinstance(action, MakeCertificates):
                files = certificates.make(action.plan.name, action.plan.namespace, action.days, self.clock())
                await self.cluster.apply(objects.secret(action.plan, files))
        if patch := status.patch(job.get("status") or {}, decision.status, self.clock(), self.figures):
            job = await self._of_job(job, {"status": patch}, "status")
        for event in decision.events:
            await self._tell(job, event)
        for action in decision.actions:
            await self._do(job, action)

    async def _of_job(self, job: Item, patch: Mapping[str, Any], sub: str = "") -> Item:
        """Change a job, unless it has changed since it was looked at."""
        meta = job["metadata"]
        guard = {"uid": meta["uid"], "resourceVersion": meta["resourceVersion"]}
        guarded = {**patch, "metadata": {**patch.get("metadata", {}), **guard}}
        written = await self.cluster.patch(JOB, meta["namespace"], name_of(job), guarded, sub)
        found = {"apiVersion": JOB.api_version, "kind": JOB.name, **written}
        if leaving(found) and not found["metadata"].get("finalizers"):
            self.world.drop(found)  # it is gone, and a watch may have said so before this answer
        else:
            self.world.put(found)
        return found

    async def _do(self, job: Item, action: Action) -> None:
        namespace = job["metadata"]["namespace"]
        match action:
            case Apply(item):
                written = await self.cluster.apply(item)
                self.world.put({"apiVersion": item["apiVersion"], "kind": item["kind"], **written})
            case Patch(kind, _, patch) if kind is JOB:
                await self._of_job(job, patch)
            case Patch(kind, name, patch):
                written = await self.cluster.patch(kind, namespace, name, patch)
                self.world.put({"apiVersion": kind.api_version, "kind": kind.name, **written})
            case Delete(kind, name, uid):
                await self.cluster.delete(kind, namespace, name, uid)

    async def _tell(self, job: Item, event: Event) -> None:
        meta, now = job["metadata"], iso(self.clock())
        log.log(logging.WARNING if event.warning else logging.INFO, "%s: %s", event.reason, event.message)
        item = {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {"generateName": f"{meta['name']}.", "namespace": meta["namespace"]},
            "involvedObject": {
                "apiVersion": job["apiVersion"], "kind": job["kind"], "name": meta["name"],
                "namespace": meta["namespace"], "uid": meta["uid"], "resourceVersion": meta["resourceVersion"],
            },
            "reason": event.reason,
            "message": event.message[:1024],
            "type": "Warning" if event.warning else "Normal",
            "source": {"component": MANAGER},
            "firstTimestamp": now, "lastTimestamp": now, "count": 1,
        }  # fmt: skip
        try:
            await self.cluster.create(item)
        except ClusterError as error:
            log.warning("an event could not be written: %s", error)
