"""One of several replicas works: the one that holds a Lease. It is taken before anything is watched; who loses it ends."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime

from tidemill_operator.cluster import LEASE, Cluster, Item
from tidemill_operator.errors import ClusterError

log = logging.getLogger("tidemill.operator")

NAME = "tidemill-operator"
LASTS, RENEWED, TRIED = 15, 10, 2
"""Seconds: a lease without a sign of life, until its holder gives up to renew it, and between two tries."""


async def lead(cluster: Cluster, namespace: str, identity: str, work: Callable[[], Awaitable[None]]) -> None:
    """Do ``work`` once this replica leads; returns when it no longer does, or the work is over."""
    lock = Lock(cluster, namespace, identity)
    await lock.take()
    log.info("replica %s leads", identity)
    working, holding = asyncio.ensure_future(work()), asyncio.ensure_future(lock.hold())
    try:
        await asyncio.wait({working, holding}, return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            working.result()
    finally:
        for task in (working, holding):
            task.cancel()
        await asyncio.gather(working, holding, return_exceptions=True)


async def release(cluster: Cluster, namespace: str, identity: str) -> None:
    """Let the next one lead at once, if this one does."""
    await Lock(cluster, namespace, identity).release()


class Lock:
    """The Lease, as one replica sees it. Whether another's has run out is told by our own clock: it has not changed for as
    long as it lasts, since we looked first."""

    def __init__(self, cluster: Cluster, namespace: str, identity: str) -> None:
        self.cluster, self.namespace, self.identity = cluster, namespace, identity
        self._seen = ("", 0.0)
        """A version of the Lease, and when we first saw it."""
        self._leader, self._renewed = "", 0.0
        """Whose it was when last looked at, and if ours, a moment before it was written: others count from later ones."""
        self._told = ""

    async def take(self) -> None:
        """Returns once it is ours."""
        while not await self._tried():
            await asyncio.sleep(TRIED)

    async def hold(self) -> None:
        """Returns once it is another's, or may be soon: it could not be renewed for too long."""
        with contextlib.suppress(TimeoutError):
            while self._leader == self.identity:
                async with asyncio.timeout_at(self._renewed + RENEWED):
                    await asyncio.sleep(TRIED)
                    await self._tried()

    async def release(self) -> None:
        try:
            async with asyncio.timeout(RENEWED / 2):
                lease = await self.cluster.get(LEASE, self.namespace, NAME)
                if lease is not None and _holder(lease) == self.identity:
                    given = {**lease, "spec": {**lease["spec"], "holderIdentity": ""}}
                    await self.cluster.update(LEASE, given)
        except (ClusterError, TimeoutError) as error:
            log.debug("the lease was not given back: %s", error or "no answer")

    async def _tried(self) -> bool:
        """Take it, or renew it; whether it is ours now."""
        begun = _now()
        try:
            async with asyncio.timeout(RENEWED / 2):
                self._leader = await self._write(await self.cluster.get(LEASE, self.namespace, NAME))
        except (ClusterError, TimeoutError) as error:
            if not (isinstance(error, ClusterError) and error.status == 409):  # another one was faster
                self._tell(f"the lease {self.namespace}/{NAME} is out of reach: {error or 'no answer'}")
            return False
        if self._leader != self.identity:
            return False
        self._renewed = begun
        return True

    async def _write(self, lease: Item | None) -> str:
        """Make it ours if it may be; gives the one whose it then is."""
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        ours = {"holderIdentity": self.identity, "leaseDurationSeconds": LASTS, "renewTime": now}
        if lease is None:
            await self.cluster.create(
                {
                    "apiVersion": LEASE.api_version,
                    "kind": LEASE.name,
                    "metadata": {"name": NAME, "namespace": self.namespace},
                    "spec": {**ours, "acquireTime": now, "leaseTransitions": 0},
                }
            )
            return self.identity
        spec = lease.get("spec") or {}
        if (holder := _holder(lease)) != self.identity:
            if holder and not self._has_run_out(lease):
                self._tell(f"replica {holder} leads; waiting")
                return holder
            ours |= {"acquireTime": now, "leaseTransitions": int(spec.get("leaseTransitions") or 0) + 1}
        await self.cluster.update(LEASE, {**lease, "spec": {**spec, **ours}})
        return self.identity

    def _has_run_out(self, lease: Item) -> bool:
        version, now = str(lease["metadata"]["resourceVersion"]), _now()
        if self._seen[0] != version:
            self._seen = (version, now)
        return now - self._seen[1] > int(lease["spec"].get("leaseDurationSeconds") or LASTS)

    def _tell(self, message: str) -> None:
        if message != self._told:
            self._told = message
            log.info(message)


def _now() -> float:
    return asyncio.get_running_loop().time()


def _holder(lease: Item) -> str:
    return str((lease.get("spec") or {}).get("holderIdentity") or "")
