"""Looks: fills the world from the API server, and asks drivers how they do."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Iterable, Mapping
from typing import Any

import aiohttp

from tidemill_operator import names
from tidemill_operator.cluster import JOB, NAMESPACE, POD, STATEFUL_SET, WATCHED, Cluster, Item
from tidemill_operator.errors import ClusterError
from tidemill_operator.names import MANAGED, MANAGER, name_of
from tidemill_operator.world import Key, Observed, World, leaving, ready

log = logging.getLogger("tidemill.operator")

ANSWER = 2.0
"""Seconds for a driver to say how it does."""
LONGEST = 2**20
"""Bytes of what it says; some hundred queries fit into it."""


class Observer:
    """``namespaces``: those to look at; none for all."""

    def __init__(self, cluster: Cluster, namespaces: tuple[str, ...] = ()) -> None:
        self.cluster, self.namespaces = cluster, namespaces
        self.world = World()
        self._http: aiohttp.ClientSession | None = None

    async def look(self) -> None:
        """Read everything anew: at the start, and now and then, should a watch have missed something."""
        for kind in (JOB, *WATCHED):
            items, versions = [], []
            for namespace in self.namespaces or (None,):
                labels = "" if kind is JOB else f"{MANAGED}={MANAGER}"
                found, version = await self.cluster.listed(kind, namespace, labels)
                items += found
                versions.append(version)
            self.world.replace(kind, items, min(versions))

    async def observe(self, key: Key) -> Observed | None:
        """What there is of a job; None if there is no such job."""
        job = self.world.jobs.get(key)
        if job is None:
            return None
        items = self.world.items(key)
        pods = [i for i in items if i["kind"] == POD.name]
        reports, hints = await asyncio.gather(self._reports(pods), self._hints(items))
        ends = leaving(job) and await self._namespace_ends(key[0])
        # While they were asked the world may have gone on.
        return Observed(self.world.jobs.get(key, job), self.world.items(key), reports, hints, ends)

    async def _reports(self, pods: list[Item]) -> dict[str, Mapping[str, Any]]:
        drivers = [p for p in pods if names.label_of(p, names.COMPONENT) == names.DRIVER]
        asked = [p for p in drivers if p.get("status", {}).get("podIP") and _runs(p)]
        answers = await asyncio.gather(*(self._report(p) for p in asked))
        return {name_of(p): a for p, a in zip(asked, answers, strict=True) if a}

    async def _report(self, pod: Item) -> Mapping[str, Any]:
        address = pod["status"]["podIP"]
        host = f"[{address}]" if ":" in address else address
        url = f"http://{host}:{names.HEALTH_PORT}/api/v1/status"
        try:
            # What answers is a user's program: it leads us nowhere else, and fills no memory.
            async with self._session().get(url, allow_redirects=False) as answer:
                found = json.loads(await _body(answer)) if answer.status == 200 else None
                return found if isinstance(found, dict) else {}
        except (aiohttp.ClientError, TimeoutError, ValueError) as error:
            log.debug("driver %s does not answer: %s", name_of(pod), error)
            return {}

    def _session(self) -> aiohttp.ClientSession:
        if self._http is None:
            self._http = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=ANSWER))
        return self._http

    async def _hints(self, items: Iterable[Item]) -> dict[str, str]:
        asked = stuck(items)
        found = await asyncio.gather(*(self._hint(i) for i in asked))
        return {name_of(i): said for i, said in zip(asked, found, strict=True) if said}

    async def _hint(self, item: Item) -> str:
        try:
            return hint(item, await self.cluster.events_of(item))
        except ClusterError as error:
            log.debug("events of %s: %s", name_of(item), error)
            return ""

    async def _namespace_ends(self, namespace: str) -> bool:
        found = await self.cluster.get(NAMESPACE, None, namespace)
        return found is None or leaving(found)

    async def close(self) -> None:
        if self._http is not None:
            await self._http.close()


def _runs(pod: Item) -> bool:
    return any("running" in c.get("state", {}) for c in pod["status"].get("containerStatuses", []))


async def _body(answer: aiohttp.ClientResponse) -> bytes:
    """No more of it than fits."""
    found = b""
    async for part in answer.content.iter_any():
        found += part
        if len(found) > LONGEST:
            raise ValueError(f"its answer is longer than {LONGEST} bytes")
    return found


def stuck(items: Iterable[Item]) -> list[Item]:
    """What only events say anything of: pods that are on a node and whose containers are being made, and a StatefulSet that
    has fewer pods than it wants while each of them is well, although its controller has seen it."""
    items = list(items)
    pods = [i for i in items if i["kind"] == POD.name]
    executors = [p for p in pods if names.label_of(p, names.COMPONENT) == names.EXECUTOR]
    made = [p for p in pods if not leaving(p) and not ready(p) and _being_made(p)]
    sets = [i for i in items if i["kind"] == STATEFUL_SET.name and not leaving(i) and _seen(i)]
    short = [s for s in sets if len(executors) < s["spec"]["replicas"]] if all(map(ready, executors)) else []
    return [*made, *short]


def hint(item: Item, events: Iterable[Item]) -> str:
    """The last warning. Of a StatefulSet: what it said last, if that is a warning; it says, too, which pods it has made."""
    told = sorted(events, key=lambda e: (_told_at(e), e.get("type") == "Warning"))
    if item["kind"] == STATEFUL_SET.name:
        told = told[-1:]
    warnings = [e for e in told if e.get("type") == "Warning" and not _passes(e)]
    return str(warnings[-1].get("message", "")) if warnings else ""


def _being_made(pod: Item) -> bool:
    containers = pod.get("status", {}).get("containerStatuses", [])
    return any(c.get("state", {}).get("waiting", {}).get("reason") == "ContainerCreating" for c in containers)


def _seen(wanted: Item) -> bool:
    return int(wanted.get("status", {}).get("observedGeneration", 0)) >= int(wanted["metadata"]["generation"])


def _passes(event: Item) -> bool:
    """A kubelet that has not read a Secret or ConfigMap yet says so in a warning, and of those that there are, too."""
    return "failed to sync" in str(event.get("message", ""))


def _told_at(event: Item) -> str:
    return str(event.get("lastTimestamp") or event.get("eventTime") or "")
