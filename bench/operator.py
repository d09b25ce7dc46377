"""How the operator does with many jobs: ``python -m bench.operator [--jobs 1000]``, on a Kubernetes API server of its own.

There are no controllers and no kubelet behind it: what is made stays as it is. Printed: the time until all jobs have their
objects, calls of the API server for each, the operator's memory, and its calls in a minute in which nothing happens; and as
a ceiling of this machine the time that as many bare writes take, of the same objects by the same client.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

import yaml

from bench.table import Table
from e2e.api.own import ApiServer
from tidemill_operator import access
from tidemill_operator.cluster import (
    BUDGET,
    CONFIG_MAP,
    DEPLOYMENT,
    JOB,
    SERVICE,
    STATEFUL_SET,
    Cluster,
    Item,
)  # fmt: skip
from tidemill_operator.names import MANAGED, MANAGER

DEFINITION = Path(__file__).parents[1] / "crds" / "streamingjobs.tidemill.dev.yaml"
NAME, BARE = "tidemill-bench", "tidemill-bare"
PORT = 19190
OBJECTS = {DEPLOYMENT: 1, STATEFUL_SET: 1, SERVICE: 2, CONFIG_MAP: 1, BUDGET: 1}
"""Of each job, Secrets not counted: the operator may not read them, and this does not either."""
REST = 60.0
AT_ONCE = 8
"""Calls at a time, as many as the operator makes."""


def job(n: int) -> Item:
    return {
        "apiVersion": JOB.api_version,
        "kind": JOB.name,
        "metadata": {"name": f"job-{n:04d}", "namespace": NAME},
        "spec": {
            "sources": [{"name": "ticks", "format": "rate"}],
            "queries": [{"name": "every", "sql": "SELECT value FROM ticks", "sink": {"format": "noop"}}],
            "executor": {"replicas": 1},
        },
    }


def scraped() -> dict[str, float]:
    """The operator's metrics, by their names with labels; none while it does not answer."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{PORT}/metrics", timeout=10) as answer:
            lines = answer.read().decode().splitlines()
    except OSError:
        return {}
    return {k: float(v) for k, _, v in (line.rpartition(" ") for line in lines if not line.startswith("#"))}


def calls(*which: str) -> float:
    """Of the API server by the operator: those with one of these labels, or all."""
    counted = {k: v for k, v in scraped().items() if k.startswith("tidemill_operator_api_calls_total")}
    return sum(v for k, v in counted.items() if not which or any(labels in k for labels in which))


def made() -> float:
    """Objects of the kinds that we count which the operator has applied."""
    return calls(*(f'resource="{kind.plural}",verb="apply"' for kind in OBJECTS))


def memory(process: subprocess.Popen[bytes]) -> float:
    """Resident MB."""
    with open(f"/proc/{process.pid}/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


def processor(process: subprocess.Popen[bytes]) -> float:
    """Seconds of processor time."""
    fields = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def apply_all(cluster: Cluster, items: list[Item]) -> float:
    """The seconds that it takes."""
    turns, started = asyncio.Semaphore(AT_ONCE), time.monotonic()

    async def one(item: Item) -> None:
        async with turns:
            await cluster.apply(item)

    await asyncio.gather(*map(one, items))
    return time.monotonic() - started


async def there(cluster: Cluster) -> list[Item]:
    """What the operator has made."""
    found = []
    for kind in OBJECTS:
        items, _ = await cluster.listed(kind, NAME, f"{MANAGED}={MANAGER}")
        found += [{"apiVersion": kind.api_version, "kind": kind.name, **item} for item in items]
    return found


def copied(item: Item) -> Item:
    """To be applied in another namespace."""
    spec = {k: v for k, v in item.get("spec", {}).items() if k not in ("clusterIP", "clusterIPs")}
    meta = {"name": item["metadata"]["name"], "namespace": BARE, "labels": item["metadata"]["labels"]}
    data = {k: item[k] for k in ("apiVersion", "kind", "data") if k in item}
    return {**data, "metadata": meta, **({"spec": spec} if spec else {})}


async def measured(cluster: Cluster, number: int, process: subprocess.Popen[bytes], table: Table) -> None:
    started, before, used = time.monotonic(), calls(), processor(process)
    applied = await apply_all(cluster, [job(n) for n in range(number)])
    while made() < sum(OBJECTS.values()) * number:
        await asyncio.sleep(0.2)
    taken = time.monotonic() - started
    writes = calls() - before
    now = -1.0
    while (found := calls()) != now:
        now = found
        await asyncio.sleep(10)
    objects = await there(cluster)
    assert len(objects) == sum(OBJECTS.values()) * number, f"{len(objects)} objects of {number} jobs"
    resident, used = memory(process), processor(process) - used
    await asyncio.sleep(REST)
    at_rest = calls() - now
    process.terminate()
    bare = await apply_all(cluster, [copied(i) for i in objects]) / len(objects) * writes
    table.row(f"{number:,} jobs applied (by this program)", f"{applied:.1f} s")
    table.row("until all have their objects", f"{taken:.1f} s", f"{bare / taken:.2f}", aim="30 s for 1,000")
    table.row("as many bare writes", f"{bare:.1f} s")
    table.row("API calls a job", f"{(now - before) / number:.1f}")
    table.row("the operator's processor time a job", f"{1000 * used / number:.1f} ms")
    table.row("memory of the operator", f"{resident:.0f} MB", aim="150 MB")
    table.row("API calls in a minute at rest", f"{at_rest:.0f}", aim="near none")


async def main(number: int) -> None:
    table = Table("The operator with many jobs")
    with tempfile.TemporaryDirectory() as folder, ApiServer(Path(folder)) as server:
        definitions = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
        server.call("POST", definitions, yaml.safe_load(DEFINITION.read_text()))
        for name in (NAME, BARE):
            server.call("POST", "/api/v1/namespaces", {"metadata": {"name": name}})
        cluster = (await access.connect(str(server.kubeconfig()))).cluster
        command = [
            sys.executable, "-m", "tidemill_operator", "--image", "none:none", "--checkpoint", "redis://nowhere",
            "--namespace", NAME, "--health-port", str(PORT), "--health-host", "127.0.0.1",
        ]  # fmt: skip
        environment = {**os.environ, "KUBECONFIG": str(server.kubeconfig())}
        process = subprocess.Popen(command, stderr=subprocess.DEVNULL, env=environment)
        try:
            while "tidemill_operator_leader" not in scraped():
                await asyncio.sleep(0.2)
            await measured(cluster, number, process, table)
            table.show()
        finally:
            process.terminate()
            process.wait(30)
            await cluster.close()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--jobs", type=int, default=1000)
    asyncio.run(main(parser.parse_args().jobs))
