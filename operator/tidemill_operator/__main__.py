"""``tidemill operator``: the process that turns StreamingJobs into drivers and executors."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import re
import signal
import socket
from dataclasses import dataclass
from functools import partial

import kopf
import typer

from tidemill import logs
from tidemill.health import HealthServer, Heartbeat, Probes
from tidemill_operator import leader
from tidemill_operator.cluster import JOB, Cluster
from tidemill_operator.errors import ClusterError
from tidemill_operator.handlers import registry, settings
from tidemill_operator.platform import Platform
from tidemill_operator.reconcile import Reconciler

log = logging.getLogger("tidemill.operator")


@dataclass(frozen=True)
class Place:
    """Where the operator works."""

    namespaces: tuple[str, ...]
    """None: all."""
    lease: str
    """The namespace of the lease; empty: this process is the only one."""
    health_host: str
    health_port: int


def command(
    image: str = typer.Option(
        "", envvar="TIDEMILL_IMAGE", help="The image of jobs that name none.", show_default=False
    ),
    checkpoint: str = typer.Option(
        "",
        envvar="TIDEMILL_CHECKPOINT",
        help="Where jobs that do not say otherwise keep their progress: redis://host:6379/0.",
        show_default=False,
    ),
    pull_policy: str = typer.Option(
        "IfNotPresent", envvar="TIDEMILL_PULL_POLICY", help="Of the images of jobs, as in Kubernetes."
    ),
    namespace: list[str] = typer.Option(
        [],
        envvar="TIDEMILL_NAMESPACES",
        help="Look after jobs there only; may be repeated. By default everywhere.",
    ),
    lease_namespace: str = typer.Option(
        "",
        envvar="POD_NAMESPACE",
        help="Where the Lease lies by which one of several replicas leads; none: this one leads.",
        show_default=False,
    ),
    health_port: int = typer.Option(
        9090, min=0, max=65_535, help="Serve /livez, /readyz, /metrics and /api/v1/status there."
    ),
    health_host: str = typer.Option("0.0.0.0", help="The address for --health-port; plain HTTP."),
    log_format: str = typer.Option("text", help="How log lines are written: text or json."),
) -> None:
    """Look after the StreamingJobs of a cluster, until SIGTERM."""
    logs.configure(log_format)
    _as_ours(logging.getLogger("kopf"))
    namespaces = tuple(n for given in namespace for n in given.replace(",", " ").split())
    bare = re.sub(r"\$\{[^}]*\}", "", checkpoint)
    if re.search(r"//[^/?@]*:[^/?@]+@|[?&]sentinel_password=[^&]", bare):
        # It would be in every driver's environment, and in every status.
        log.error(
            "--checkpoint (TIDEMILL_CHECKPOINT) has a password in plain text; put it into a Secret of each namespace with jobs "
            "and name that: redis://:${secret:redis/password}@redis:6379/0"
        )
        raise typer.Exit(2)
    platform = Platform(image=image, checkpoint=checkpoint, pull_policy=pull_policy)
    place = Place(namespaces, lease_namespace, health_host, health_port)
    raise typer.Exit(asyncio.run(serve(platform, place)))


async def serve(platform: Platform, place: Place) -> int:
    """Work until told to stop; the exit code."""
    reconciler, heart = Reconciler(platform, place.namespaces), Heartbeat()
    stop = asyncio.Event()
    _hear(stop)
    probes = Probes(
        live=lambda: heart.trouble,
        ready=lambda: reconciler.waits_for,
        status=partial(_status, reconciler),
        registry=reconciler.metrics.registry,
    )
    health = HealthServer(probes, place.health_port, place.health_host)
    beating = asyncio.ensure_future(heart.keep())
    try:
        cluster = await Cluster.connect(reconciler.metrics.count)
    except Exception as error:
        log.error("there is no way to a cluster: %s; run in a pod, or set KUBECONFIG", error)
        return 1
    identity = os.environ.get("HOSTNAME") or f"{socket.gethostname()}-{os.getpid()}"
    try:
        return await _until_over(reconciler, cluster, place, identity, stop)
    finally:
        if place.lease:
            await leader.release(cluster, place.lease, identity)
        await cluster.close()
        beating.cancel()
        health.close()


def _as_ours(others: logging.Logger) -> None:
    """What goes wrong there is said in lines like ours."""
    others.setLevel(logging.WARNING)
    others.handlers, others.propagate = logging.getLogger("tidemill").handlers, False


def _hear(stop: asyncio.Event) -> None:
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)


async def _until_over(
    reconciler: Reconciler, cluster: Cluster, place: Place, identity: str, stop: asyncio.Event
) -> int:
    work = partial(_work, reconciler, cluster, place, stop)
    leading = leader.lead(cluster, place.lease, identity, work) if place.lease else work()
    running, stopping = asyncio.ensure_future(leading), asyncio.ensure_future(stop.wait())
    await asyncio.wait({running, stopping}, return_when=asyncio.FIRST_COMPLETED)
    if stop.is_set():
        running.cancel()
        with contextlib.suppress(asyncio.CancelledError, Exception):
            await running
        log.info("the operator ends")
        return 0
    stopping.cancel()
    try:
        running.result()
        log.error("this replica no longer leads; ending, to begin anew")
    except* ClusterError as found:
        log.error("%s", _first(found))
    return 1


def _first(error: BaseException) -> BaseException:
    """Of those that tasks have ended with."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


async def _work(reconciler: Reconciler, cluster: Cluster, place: Place, stop: asyncio.Event) -> None:
    reconciler.metrics.leader.set(1)
    await _definition(reconciler, cluster, place)
    async with asyncio.TaskGroup() as group:
        group.create_task(reconciler.run(cluster))
        while not reconciler.ready:
            await asyncio.sleep(0.05)
        log.info("jobs found: %d", len(reconciler.observer.world.jobs) if reconciler.observer else 0)
        ours = asyncio.all_tasks()
        watching = await kopf.spawn_tasks(
            registry=registry(reconciler),
            settings=settings(),
            clusterwide=not place.namespaces,
            namespaces=place.namespaces,
            standalone=True,
        )
        _hear(stop)  # kopf has taken the signals, and would end itself alone
        group.create_task(kopf.run_tasks(watching, ignored=ours))


async def _definition(reconciler: Reconciler, cluster: Cluster, place: Place) -> None:
    """Wait for the StreamingJob's definition: a chart may bring it after us."""
    told = False
    reconciler.waits_for = "the definition of StreamingJob (crds/)"
    while True:
        try:
            await cluster.listed(JOB, place.namespaces[0] if place.namespaces else None)
            reconciler.waits_for = ""
            return
        except ClusterError as error:
            if error.status not in (0, 404, 503):
                raise
            if not told:
                log.warning("%s; waiting for %s", error, reconciler.waits_for)
                told = True
            await asyncio.sleep(1)


def _status(reconciler: Reconciler) -> dict[str, object]:
    leads, waits = reconciler.ready, reconciler.waits_for
    return {"role": "operator", "leads": leads, "waitsFor": waits, "queue": len(reconciler.queue)}


if __name__ == "__main__":
    typer.run(command)
