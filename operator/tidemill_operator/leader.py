"""One of several replicas works: the one that holds a Lease. It is taken before anything is watched; who loses it ends."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from kubernetes.aio.leaderelection.electionconfig import Config
from kubernetes.aio.leaderelection.leaderelection import LeaderElection
from kubernetes.aio.leaderelection.resourcelock.leaselock import LeaseLock

from tidemill_operator.cluster import LEASE, Cluster
from tidemill_operator.errors import ClusterError

log = logging.getLogger("tidemill.operator")

NAME = "tidemill-operator"
LASTS, RENEWED, TRIED = 15, 10, 2
"""Seconds: a lease without a sign of life, until its holder gives up to renew it, and between two tries."""


async def lead(cluster: Cluster, namespace: str, identity: str, work: Callable[[], Awaitable[None]]) -> None:
    """Do ``work`` once this replica leads; returns when it no longer does, or the work is over."""
    over = asyncio.Event()

    async def working() -> None:
        log.info("replica %s leads", identity)
        try:
            await work()
        finally:
            over.set()

    lock = LeaseLock(NAME, namespace, identity, cluster.api)
    election = LeaderElection(
        Config(
            lock,
            lease_duration=LASTS,
            renew_deadline=RENEWED,
            retry_period=TRIED,
            onstarted_leading=working,
            onstopped_leading=None,
        )
    )
    running, ended = asyncio.ensure_future(election.run()), asyncio.ensure_future(over.wait())
    try:
        await asyncio.wait({running, ended}, return_when=asyncio.FIRST_COMPLETED)
        if running.done():
            running.result()
    finally:
        for task in (running, ended):
            task.cancel()
        await asyncio.gather(running, ended, return_exceptions=True)


async def release(cluster: Cluster, namespace: str, identity: str) -> None:
    """Let the next one lead at once, if this one does."""
    try:
        lease = await cluster.get(LEASE, namespace, NAME)
        if lease is not None and lease["spec"].get("holderIdentity") == identity:
            version = {"metadata": {"resourceVersion": lease["metadata"]["resourceVersion"]}}
            await cluster.patch(LEASE, namespace, NAME, {**version, "spec": {"holderIdentity": ""}})
    except ClusterError as error:
        log.debug("the lease was not given back: %s", error)
