"""``tidemill submit``, ``status`` and ``logs``: what kubectl does for any object, for jobs, in fewer words."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Coroutine
from contextlib import suppress
from pathlib import Path
from typing import Any

import typer
from kubernetes.aio import config
from rich.console import Console
from rich.table import Table

from tidemill.api import StreamingJob, load, manifest_text
from tidemill.errors import ManifestError
from tidemill_operator import names
from tidemill_operator.cluster import JOB, POD, Cluster, Item
from tidemill_operator.errors import ClusterError
from tidemill_operator.names import label_of, name_of

LOOK = 0.5
"""Seconds between two looks at a job that is waited for."""
SETTLED = frozenset({"Running", "Completed", "Suspended"})
FAILED = frozenset({"Failing", "Refused"})
FIELD_MANAGER = "tidemill-submit"

NAMESPACE = typer.Option(
    None, "--namespace", "-n", help="By default that of the current context.", show_default=False
)
NAME = typer.Argument(help="The job's name.", show_default=False)


def submit(
    file: Path = typer.Argument(help="The manifest.", show_default=False),
    namespace: str | None = NAMESPACE,
    wait: bool = typer.Option(True, help="Wait until it runs, or cannot."),
    timeout: float = typer.Option(300.0, min=1, help="Seconds to wait at most."),
) -> None:
    """Check a manifest, apply it to the cluster, and wait until the job runs."""
    try:
        job = load(file)
        raw = _document(file)
    except ManifestError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(2) from None
    _run(_submit(job, raw, namespace, timeout if wait else 0.0))


def status(
    name: str | None = typer.Argument(None, help="A job; by default all of them.", show_default=False),
    namespace: str | None = NAMESPACE,
    everywhere: bool = typer.Option(False, "--all-namespaces", "-A", help="Those of all namespaces."),
    as_json: bool = typer.Option(False, "--json", help="As JSON."),
) -> None:
    """Tell how jobs do."""
    _run(_status(name, namespace, everywhere, as_json))


def logs(
    name: str = NAME,
    namespace: str | None = NAMESPACE,
    executor: int | None = typer.Option(
        None, min=0, help="Of this executor; by default of the driver.", show_default=False
    ),
    follow: bool = typer.Option(False, "--follow", "-f", help="Go on until Ctrl-C."),
    previous: bool = typer.Option(
        False, "--previous", "-p", help="Of the container before the last restart."
    ),
    tail: int = typer.Option(-1, min=-1, help="So many lines from the end; -1: all."),
) -> None:
    """Print the log of a job's driver, or of one of its executors."""
    _run(_logs(name, namespace, executor, follow, previous, tail))


def _run(work: Coroutine[Any, Any, int]) -> None:
    try:
        code = asyncio.run(work)
    except ClusterError as error:
        typer.echo(error.message if error.refused else str(error), err=True)
        code = 1
    except config.ConfigException as error:
        typer.echo(
            f"there is no cluster to talk to: {error}; set KUBECONFIG, or see `kubectl config`", err=True
        )
        code = 1
    raise typer.Exit(code)


async def _submit(job: StreamingJob, raw: Item, namespace: str | None, patience: float) -> int:
    cluster = await Cluster.connect()
    try:
        place = namespace or job.metadata.namespace or await current_namespace()
        raw["metadata"] = {**raw["metadata"], "namespace": place}
        applied = await cluster.apply(raw, FIELD_MANAGER)
        typer.echo(f"streamingjob {place}/{job.name} applied", err=True)
        return await _await(cluster, applied, patience) if patience else 0
    finally:
        await cluster.close()


async def _await(cluster: Cluster, applied: Item, patience: float) -> int:
    """Show the job's phases until it is settled; 1 if it fails, or time is over."""
    meta, said = applied["metadata"], ""
    deadline = time.monotonic() + patience
    while time.monotonic() < deadline:
        job = await cluster.get(JOB, meta["namespace"], meta["name"])
        if job is None:
            typer.echo(f"streamingjob {meta['namespace']}/{meta['name']} is gone", err=True)
            return 1
        found = job.get("status") or {}
        if found.get("observedGeneration", 0) >= meta["generation"]:
            told = f"{found.get('phase', '')}: {found.get('message', '')}"
            if told != said:
                typer.echo(told, err=True)
                said = told
            if _refused(found) or found.get("phase") in FAILED:
                return 1
            if found.get("phase") in SETTLED and not _progressing(found):
                _show_job(job)
                return 0
        await asyncio.sleep(LOOK)
    why = said or "the operator has not looked at it; is it installed, and does it look after this namespace?"
    typer.echo(f"not settled after {patience:g} s: {why}", err=True)
    return 1


def _condition(found: Item, kind: str) -> Item:
    return next((c for c in found.get("conditions", []) if c["type"] == kind), {})


def _progressing(found: Item) -> bool:
    return bool(_condition(found, "Progressing").get("status") == "True")


def _refused(found: Item) -> bool:
    degraded = _condition(found, "Degraded")
    return bool(degraded.get("status") == "True" and degraded.get("reason") == "ChangeRefused")


async def _status(name: str | None, namespace: str | None, everywhere: bool, as_json: bool) -> int:
    cluster = await Cluster.connect()
    try:
        place = None if everywhere else namespace or await current_namespace()
        jobs, _ = await cluster.listed(JOB, place)
    finally:
        await cluster.close()
    if name is not None:
        jobs = [j for j in jobs if name_of(j) == name]
        if not jobs:
            typer.echo(f"there is no streamingjob {name} in {place or 'any namespace'}", err=True)
            return 1
    if as_json:
        found = [
            {"namespace": j["metadata"]["namespace"], "name": name_of(j), **(j.get("status") or {})}
            for j in jobs
        ]
        typer.echo(json.dumps(found[0] if name is not None else found, indent=2, ensure_ascii=False))
    elif name is not None:
        _show_job(jobs[0])
    else:
        _show_jobs(jobs, everywhere)
    return 0


def _show_jobs(jobs: list[Item], everywhere: bool) -> None:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for title in (
        *(("NAMESPACE",) if everywhere else ()),
        "NAME",
        "PHASE",
        "EXECUTORS",
        "LAG",
        "LAST COMMIT",
        "MESSAGE",
    ):
        table.add_column(title, overflow="fold")
    for job in jobs:
        found = job.get("status") or {}
        wanted = (job["spec"].get("executor") or {}).get("replicas", 1)
        row = [name_of(job), found.get("phase", ""), f"{found.get('readyReplicas', 0)}/{wanted}",
               str(found.get("lagRows", "")), str(found.get("lastCommit", "")), found.get("message", "")]  # fmt: skip
        table.add_row(*([job["metadata"]["namespace"]] if everywhere else []), *row)
    Console().print(table)


def _show_job(job: Item) -> None:
    found, console = job.get("status") or {}, Console()
    wanted = (job["spec"].get("executor") or {}).get("replicas", 1)
    console.print(f"[bold]{job['metadata']['namespace']}/{name_of(job)}[/]  {found.get('phase', '')}")
    console.print(found.get("message", ""), markup=False, highlight=False)
    console.print(
        f"executors {found.get('readyReplicas', 0)}/{wanted}  generation {found.get('generation', '-')}  "
        f"image {found.get('image', '-')}",
        markup=False, highlight=False,
    )  # fmt: skip
    if not found.get("queries"):
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    columns = {"QUERY": "name", "PHASE": "phase", "BATCH": "batchId", "COMMITTED": "committedAt", "WATERMARK": "watermark",
               "LAG": "lagRows", "ROWS/S": "processedRowsPerSecond", "STATE": "stateRows",
               "LAST ERROR": "lastError"}  # fmt: skip
    for title in columns:
        table.add_column(title, overflow="fold")
    for query in found["queries"]:
        table.add_row(*(str(query.get(key, "")) for key in columns.values()))
    console.print(table)


async def _logs(
    name: str, namespace: str | None, executor: int | None, follow: bool, previous: bool, tail: int
) -> int:
    cluster = await Cluster.connect()
    try:
        place = namespace or await current_namespace()
        pods, _ = await cluster.listed(POD, place, f"{names.JOB_LABEL}={name}")
        pod = _chosen(pods, name, executor)
        if pod is None:
            what = "driver" if executor is None else f"executor {executor}"
            typer.echo(
                f"streamingjob {place}/{name} has no pod of the {what}; see `tidemill status {name}`",
                err=True,
            )
            return 1
        query = {"follow": str(follow).lower(), "previous": str(previous).lower()}
        query |= {"tailLines": str(tail)} if tail >= 0 else {}
        with suppress(asyncio.CancelledError, KeyboardInterrupt):
            async for line in cluster.log_of(pod, query):
                sys.stdout.buffer.write(line)
                sys.stdout.buffer.flush()
        return 0
    finally:
        await cluster.close()


def _chosen(pods: list[Item], job: str, executor: int | None) -> Item | None:
    """The newest pod of the driver, or the executor of a number."""
    if executor is not None:
        wanted = f"{names.executor(job)}-{executor}"
        return next((p for p in pods if name_of(p) == wanted), None)
    drivers = [p for p in pods if label_of(p, names.COMPONENT) == names.DRIVER]
    return max(drivers, key=lambda p: str(p["metadata"]["creationTimestamp"]), default=None)


async def current_namespace() -> str:
    """Of this pod, or of the current context; otherwise ``default``."""
    own = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")
    if own.exists():
        return own.read_text().strip()
    _, active = config.list_kube_config_contexts()
    return str(active["context"].get("namespace") or "default")


def _document(file: Path) -> Item:
    """The job's object as it was written."""
    import yaml

    text, _ = manifest_text(file)
    for document in yaml.safe_load_all(text):
        if isinstance(document, dict) and document.get("kind") == JOB.name:
            return dict(document)
    raise ManifestError(f"{file}: there is no StreamingJob in it")
