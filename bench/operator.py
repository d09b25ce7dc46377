"""How the operator does with many jobs: ``python -m bench.operator [--jobs 1000]``, against the cluster in KUBECONFIG.

Jobs are applied whose pods no node may take, so that a small cluster is enough. Printed: the time until all of them have
their objects, calls of the API server for each, the operator's memory, and its calls in a minute in which nothing happens.
The definition of StreamingJob must be installed. Everything is in a namespace of its own, which is deleted at the end.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import subprocess
import sys
import time
import urllib.request

from bench.table import Table
from tidemill_operator.cluster import (
    BUDGET,
    CONFIG_MAP,
    DEPLOYMENT,
    JOB,
    NAMESPACE,
    SERVICE,
    STATEFUL_SET,
    Cluster,
    Item,
)  # fmt: skip
from tidemill_operator.names import MANAGED, MANAGER

NAME = "tidemill-bench"
PORT = 19190
OBJECTS = {DEPLOYMENT: 1, STATEFUL_SET: 1, SERVICE: 2, CONFIG_MAP: 1, BUDGET: 1}
"""Of each job, Secrets not counted: the operator may not read them, and this does not either."""
REST = 60.0
AT_ONCE = 16


def job(n: int) -> Item:
    """A job that waits for a node that there is not."""
    nowhere = {"spec": {"nodeSelector": {"tidemill.dev/bench": "nowhere"}}}
    return {
        "apiVersion": JOB.api_version,
        "kind": JOB.name,
        "metadata": {"name": f"job-{n:04d}", "namespace": NAME},
        "spec": {
            "sources": [{"name": "ticks", "format": "rate"}],
            "queries": [{"name": "every", "sql": "SELECT value FROM ticks", "sink": {"format": "noop"}}],
            "driver": {"podTemplate": nowhere},
            "executor": {"replicas": 1, "podTemplate": nowhere},
        },
    }


def scraped() -> dict[str, float]:
    """The operator's metrics, by their names with labels."""
    with urllib.request.urlopen(f"http://127.0.0.1:{PORT}/metrics", timeout=10) as answer:
        lines = answer.read().decode().splitlines()
    return {k: float(v) for k, _, v in (line.rpartition(" ") for line in lines if not line.startswith("#"))}


def calls() -> float:
    return sum(v for k, v in scraped().items() if k.startswith("tidemill_operator_api_calls_total"))


def memory(process: subprocess.Popen[bytes]) -> float:
    """Resident MB."""
    with open(f"/proc/{process.pid}/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


async def apply_all(cluster: Cluster, number: int) -> None:
    turns = asyncio.Semaphore(AT_ONCE)

    async def one(n: int) -> None:
        async with turns:
            await cluster.apply(job(n))

    await asyncio.gather(*(one(n) for n in range(number)))


async def complete(cluster: Cluster, number: int) -> bool:
    """Whether all jobs have their objects."""
    for kind, each in OBJECTS.items():
        found, _ = await cluster.listed(kind, NAME, f"{MANAGED}={MANAGER}")
        if len(found) < each * number:
            return False
    return True


async def measured(cluster: Cluster, number: int, process: subprocess.Popen[bytes], table: Table) -> None:
    started = time.monotonic()
    await apply_all(cluster, number)
    applied = time.monotonic() - started
    while not await complete(cluster, number):
        await asyncio.sleep(0.5)
    taken = time.monotonic() - started
    table.row(f"{number:,} jobs applied (by this program)", f"{applied:.1f} s")
    table.row("until all have their objects", f"{taken:.1f} s", aim="30 s for 1,000")
    before = -1.0
    while (now := calls()) != before:  # what the cluster does with the objects is news for a while
        before = now
        await asyncio.sleep(10)
    table.row("API calls a job", f"{now / number:.1f}")
    table.row("memory of the operator", f"{memory(process):.0f} MB", aim="150 MB")
    await asyncio.sleep(REST)
    table.row("API calls in a minute at rest", f"{calls() - now:.0f}", aim="near none")


async def main(number: int) -> None:
    cluster = await Cluster.connect()
    table = Table("The operator with many jobs")
    command = [
        sys.executable, "-m", "tidemill_operator", "--image", "none:none", "--checkpoint", "redis://nowhere",
        "--namespace", NAME, "--health-port", str(PORT), "--health-host", "127.0.0.1",
    ]  # fmt: skip
    await cluster.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAME}})
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    try:
        while "tidemill_operator_leader" not in _or_nothing():
            await asyncio.sleep(0.2)
        await measured(cluster, number, process, table)
        table.show()
    finally:
        process.terminate()
        process.wait(30)
        await cluster.delete(NAMESPACE, "", NAME)
        await cluster.close()


def _or_nothing() -> dict[str, float]:
    try:
        return scraped()
    except OSError:
        return {}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--jobs", type=int, default=1000)
    asyncio.run(main(parser.parse_args().jobs))
