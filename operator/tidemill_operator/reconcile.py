"""Observe, decide, apply: one level-triggered pass over a job at a time, from a queue of our own."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime

from tidemill import logs
from tidemill_operator.apply import Applier
from tidemill_operator.cluster import Cluster
from tidemill_operator.decide import decide
from tidemill_operator.errors import ClusterError
from tidemill_operator.metrics import Metrics
from tidemill_operator.observe import Observer
from tidemill_operator.platform import Platform
from tidemill_operator.workqueue import WorkQueue
from tidemill_operator.world import Key

log = logging.getLogger("tidemill.operator")

WORKERS = 8
"""Jobs that are looked at at once."""
RESYNC = 600.0
"""Seconds between two readings of everything."""


class Reconciler:
    """Runs until it is cancelled."""

    def __init__(
        self,
        platform: Platform,
        namespaces: tuple[str, ...] = (),
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self.platform, self.namespaces, self.clock = platform, namespaces, clock
        self.queue = WorkQueue(time.monotonic)
        self.metrics = Metrics(self._phases, lambda: len(self.queue))
        self.observer: Observer | None = None
        self._rejected: dict[Key, str] = {}
        """What the API server has refused of jobs in their last pass: a template that makes no pod, or a missing right."""
        self.ready = False
        """Whether everything has been read once."""
        self.waits_for = ""
        """What is missing before any job can be looked at. A replica that waits for its turn misses nothing."""

    def _phases(self) -> list[str]:
        jobs = list(self.observer.world.jobs.values()) if self.observer is not None else []
        return [str((job.get("status") or {}).get("phase") or "Pending") for job in jobs]

    async def run(self, cluster: Cluster) -> None:
        """Look at every job, then at those that are marked."""
        self.observer = Observer(cluster, self.namespaces)
        applier = Applier(cluster, self.observer.world, self.platform.figures, self.clock)
        try:
            await self._read(self.observer)
            self.ready = True
            async with asyncio.TaskGroup() as group:
                group.create_task(self._resync(self.observer))
                for _ in range(WORKERS):
                    group.create_task(self._work(self.observer, applier))
        finally:
            await self.observer.close()

    async def _read(self, observer: Observer) -> None:
        await observer.look()
        for key in list(observer.world.jobs):
            self.queue.mark(key)

    async def _resync(self, observer: Observer) -> None:
        while True:
            await asyncio.sleep(RESYNC)
            try:
                await self._read(observer)
            except ClusterError as error:
                log.warning("the cluster could not be read: %s", error)

    async def _work(self, observer: Observer, applier: Applier) -> None:
        while True:
            key = await self.queue.take()
            with logs.bound(job=f"{key[0]}/{key[1]}"), self.metrics.seconds.time():
                await self._look_at(key, observer, applier)

    async def _look_at(self, key: Key, observer: Observer, applier: Applier) -> None:
        try:
            again = await self._pass(key, observer, applier)
        except asyncio.CancelledError:
            raise
        except Exception as error:
            pause = self.queue.failed(key)
            self.metrics.reconciliations.labels("error").inc()
            if isinstance(error, ClusterError) and error.status in (404, 409):
                # Somebody else has written; what there is now is on its way to us.
                log.info("%s; looking again in %g s", error, pause)
            else:
                known = isinstance(error, ClusterError)
                if isinstance(error, ClusterError) and error.refused:
                    self._rejected[key] = str(error)
                log.warning("%s; trying again in %g s", error, pause, exc_info=not known)
            return
        self.metrics.reconciliations.labels("ok").inc()
        # What was refused and is no longer stands in the status until the next pass.
        self.queue.done(key, again if self._rejected.pop(key, None) is None else 0.0)

    async def _pass(self, key: Key, observer: Observer, applier: Applier) -> float | None:
        seen = await observer.observe(key)
        if seen is None:
            return None
        seen = replace(seen, rejected=self._rejected.get(key, ""))
        decision = decide(seen, self.platform, self.clock())
        await applier.apply(seen, decision)
        if decision.restarted:
            self.metrics.restarts.labels(decision.restarted).inc()
        return decision.again
