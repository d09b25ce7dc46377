"""``tidemill submit``, ``status`` and ``logs``: what kubectl does for any object, for jobs, in fewer words.

Exit codes: 0 done; 1 the cluster or the job says no; 2 the command or the manifest is wrong, and nothing was sent.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from typing import NoReturn

import typer

from tidemill.clock import SYSTEM
from tidemill.errors import ManifestError, did_you_mean
from tidemill_operator import names, submission, tables
from tidemill_operator.access import NoWayError, Place, connect, explained
from tidemill_operator.cluster import JOB, POD, Item
from tidemill_operator.errors import ClusterError
from tidemill_operator.names import label_of, name_of
from tidemill_operator.troubles import trouble

LOOK = 0.5
"""Seconds between two looks at a job that is waited for."""
PATIENCE = 10.0
"""Seconds in which an operator has looked at a job, if there is one."""
SETTLED = frozenset({"Running", "Completed", "Suspended"})
MAY_PASS = "Unschedulable"
"""The reason of a degraded job that is none to give up: a node may yet come."""


def seconds(text: str) -> float:
    """A duration as kubectl takes it, or a number of seconds.

    >>> seconds("1h30m"), seconds("90s"), seconds("90")
    (5400.0, 90.0, 90.0)
    """
    number = r"[0-9]+(?:\.[0-9]+)?"
    if not re.fullmatch(rf"{number}|(?:{number}[hms])+", text):
        raise typer.BadParameter(f"{text!r} is no duration; write it like 90s, 5m or 1h30m")
    units = {"h": 3600, "m": 60, "s": 1, "": 1}
    return sum(float(count) * units[unit] for count, unit in re.findall(rf"({number})([hms]?)", text))


NAMESPACE = typer.Option("", "--namespace", "-n", help="By default that of the context.", show_default=False)
KUBECONFIG = typer.Option(
    "", help="By default as kubectl finds it: KUBECONFIG, ~/.kube/config.", show_default=False
)
CONTEXT = typer.Option("", help="Of the kubeconfig; by default its current one.", show_default=False)


def submit(
    file: str = typer.Argument(help="The manifest; - reads the standard input.", show_default=False),
    namespace: str = NAMESPACE,
    wait: bool = typer.Option(True, help="Wait until it runs, or says why it cannot."),
    timeout: float = typer.Option("5m", parser=seconds, metavar="DURATION", help="How long, at most."),
    kubeconfig: str = KUBECONFIG,
    context: str = CONTEXT,
) -> None:
    """Check a manifest as `tidemill validate` does, apply it as `kubectl apply` does, and wait until the job runs.

    ConfigMaps and Secrets in the same file are applied first.
    """
    items = _checked(file, namespace)

    async def work(place: Place) -> int:
        for item in items:
            item["metadata"].setdefault("namespace", place.namespace)
            applied, what = await submission.apply(place.cluster, item)
            meta = applied["metadata"]
            _say(f"{applied['kind'].lower()} {meta['namespace']}/{meta['name']} {what}")
        return await _await(place, applied, timeout) if wait else 0

    _run(work, kubeconfig, context, namespace)


def status(
    name: str = typer.Argument("", help="A job; by default all of them.", show_default=False),
    namespace: str = NAMESPACE,
    everywhere: bool = typer.Option(False, "--all-namespaces", "-A", help="Those of all namespaces."),
    as_json: bool = typer.Option(False, "--json", help="As JSON."),
    kubeconfig: str = KUBECONFIG,
    context: str = CONTEXT,
) -> None:
    """Tell how jobs do: all in a table, or one with its queries."""
    if name and everywhere:
        raise typer.BadParameter("one job is in one namespace: give --namespace in place of --all-namespaces")

    async def work(place: Place) -> int:
        if not name:
            found, _ = await place.cluster.listed(JOB, None if everywhere else place.namespace)
            _show_all(found, place, everywhere, as_json)
            return 0
        job = await place.cluster.get(JOB, place.namespace, name)
        if job is None:
            return await _no_job(place, name)
        typer.echo(_json(_told(job)) if as_json else tables.job(job, _now()))
        return 0

    _run(work, kubeconfig, context, namespace)


def logs(
    name: str = typer.Argument(help="The job's name.", show_default=False),
    namespace: str = NAMESPACE,
    executor: int | None = typer.Option(
        None, min=0, help="Of this executor; by default of the driver.", show_default=False
    ),
    follow: bool = typer.Option(False, "--follow", "-f", help="Go on until it ends, or Ctrl-C."),
    previous: bool = typer.Option(
        False, "--previous", "-p", help="Of the container before the last restart."
    ),
    tail: int = typer.Option(-1, min=-1, help="So many lines from the end; -1: all."),
    since: float | None = typer.Option(
        None, parser=seconds, metavar="DURATION", help="Not older than 5m, say.", show_default=False
    ),
    kubeconfig: str = KUBECONFIG,
    context: str = CONTEXT,
) -> None:
    """Print the log of a job's driver (the newest one), or of one of its executors."""
    query = {"container": names.CONTAINER, "follow": str(follow).lower(), "previous": str(previous).lower()}
    query |= {"tailLines": str(tail)} if tail >= 0 else {}
    query |= {"sinceSeconds": str(max(round(since), 1))} if since is not None else {}

    async def work(place: Place) -> int:
        pods, _ = await place.cluster.listed(POD, place.namespace, f"{names.JOB_LABEL}={name}")
        pod = _chosen(pods, name, executor)
        if pod is None:
            return await _no_pod(place, name, executor, pods)
        if not pod["spec"].get("nodeName"):
            _say(trouble(pod, {})[1] or f"pod {name_of(pod)} is on no node yet")
            return 1
        async for piece in place.cluster.log_of(pod, query):
            typer.echo(piece, nl=False)
        return 0

    _run(work, kubeconfig, context, namespace)


def _run(work: Callable[[Place], Awaitable[int]], kubeconfig: str, context: str, namespace: str) -> NoReturn:
    async def there() -> int:
        place = await connect(kubeconfig, context, namespace)
        try:
            return await work(place)
        except ClusterError as error:
            _say(explained(error, place))
            return 1
        finally:
            await place.cluster.close()

    try:
        raise typer.Exit(asyncio.run(there()))
    except NoWayError as error:
        _say(str(error))
        raise typer.Exit(1) from None


def _say(text: str) -> None:
    typer.echo(text, err=True)


def _now() -> datetime:
    return datetime.fromtimestamp(SYSTEM.now(), UTC)


# --- submit ---------------------------------------------------------------------------------------------------------


def _checked(file: str, namespace: str) -> Sequence[Item]:
    """What is to be applied, the job last. Ends with 2 where something is wrong with it, or with the place for it."""
    # The one thing of the command line that is needed here, and it loads the engine: no other command waits for that.
    from tidemill.cli import validate

    try:
        text, where = validate.text_of(file)
        job, problems = validate.check_text(text, file)
        items, notes = submission.read(text, where, job, problems)
        for item in items:
            given = item["metadata"].get("namespace", namespace)
            if namespace and given != namespace:
                told = f"{item['kind']} {name_of(item)} is for namespace {given}, and --namespace says {namespace}"
                raise ManifestError([f"{told}; leave one of them out"], where)
    except ManifestError as error:
        _say(str(error))
        raise typer.Exit(2) from None
    for note in notes:
        _say(f"{where}: not checked on this machine: {note}")
    return items


async def _await(place: Place, applied: Item, patience: float) -> int:
    """Show the job's messages until it is settled; 1 if it cannot be, or time is over."""
    meta, told = applied["metadata"], ""
    name, begun = f"{meta['namespace']}/{meta['name']}", SYSTEM.monotonic()
    unseen = (
        f"no operator has looked at it yet; is one installed, and does it look after namespace {meta['namespace']}? "
        "kubectl get pods -A -l app.kubernetes.io/component=operator"
    )
    while (waited := SYSTEM.monotonic() - begun) < patience:
        job = await place.cluster.get(JOB, meta["namespace"], meta["name"])
        if job is None or job["metadata"]["uid"] != meta["uid"]:
            _say(f"streamingjob {name} has been deleted meanwhile")
            return 1
        found = job.get("status") or {}
        seen = found.get("observedGeneration", 0) >= meta["generation"]
        now = f"{found.get('phase', '')}: {found.get('message', '')}" if seen else ""
        now = now or (unseen if waited > PATIENCE else "")
        if now not in (told, ""):
            _say(now)
            told = now
        if seen and (code := _verdict(found)) is not None:
            if code:
                _say(_look(meta))
            else:
                typer.echo(tables.job(job, _now()))
            return code
        await asyncio.sleep(LOOK)
    _say(f"streamingjob {name}: after {patience:g} s still: {told or unseen}\n{_look(meta)}")
    return 1


def _verdict(found: Item) -> int | None:
    """Of a job's status: 0 where it does what is asked for, 1 where it cannot, None while that is open."""
    conditions = {c["type"]: c for c in found.get("conditions", [])}
    degraded, progressing = conditions.get("Degraded", {}), conditions.get("Progressing", {})
    is_degraded = degraded.get("status") == "True"
    if found.get("phase") in ("Failing", "Refused") or is_degraded and degraded.get("reason") != MAY_PASS:
        return 1
    settled = found.get("phase") in SETTLED and not is_degraded and progressing.get("status") != "True"
    return 0 if settled else None


def _look(meta: Item) -> str:
    where = f"-n {meta['namespace']}"
    return f"see: kubectl describe sj {meta['name']} {where}; tidemill logs {meta['name']} {where}"


# --- status, logs ---------------------------------------------------------------------------------------------------


def _show_all(found: list[Item], place: Place, everywhere: bool, as_json: bool) -> None:
    if as_json:
        typer.echo(_json([_told(job) for job in found]))
    elif found:
        typer.echo(tables.jobs(found, _now(), everywhere))
    else:
        _say("there are no streamingjobs" + ("" if everywhere else f" in namespace {place.namespace}"))


def _told(job: Item) -> Item:
    return {"namespace": job["metadata"]["namespace"], "name": name_of(job), **(job.get("status") or {})}


def _json(value: object) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False)


async def _no_job(place: Place, name: str) -> int:
    there, _ = await place.cluster.listed(JOB, place.namespace)
    hint = did_you_mean(name, [name_of(job) for job in there]) or "; see `tidemill status -A`"
    _say(f"there is no streamingjob {name} in namespace {place.namespace}{hint}")
    return 1


async def _no_pod(place: Place, name: str, executor: int | None, pods: list[Item]) -> int:
    """Say why there is none."""
    job = await place.cluster.get(JOB, place.namespace, name)
    if job is None:
        return await _no_job(place, name)
    what = "driver" if executor is None else f"executor {executor}"
    there = sorted(name_of(p) for p in pods)
    found = job.get("status") or {}
    why = f"{found.get('phase') or 'no operator has looked at it yet'}: {found.get('message', '')}".rstrip(
        ": "
    )
    _say(f"streamingjob {name} has no pod of {what} ({why}); pods: {', '.join(there) or 'none'}")
    return 1


def _chosen(pods: list[Item], job: str, executor: int | None) -> Item | None:
    """The newest pod of the driver, or the executor of a number."""
    if executor is not None:
        wanted = f"{names.executor(job)}-{executor}"
        return next((p for p in pods if name_of(p) == wanted), None)
    drivers = [p for p in pods if label_of(p, names.COMPONENT) == names.DRIVER]
    return max(drivers, key=lambda p: str(p["metadata"]["creationTimestamp"]), default=None)
