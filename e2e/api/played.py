"""The rest of a cluster around a real API server that has none: `tests.operator.kubernetes` plays controllers, kubelets and
the processes in pods as it does in memory, but what they see and write is there."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from e2e.api.own import ApiServer
from e2e.api.server import Refused
from tests.operator.apiserver import copied, id_of
from tests.operator.kubernetes import Kubernetes
from tidemill.health import HealthServer, Probes
from tidemill_operator.cluster import BY_NAME, EVENT, JOB, POD, SECRET, WATCHED, Item, Kind
from tidemill_operator.moments import iso
from tidemill_operator.names import HEALTH_PORT

STEP = 0.3
"""Seconds between two steps of everything."""
MERGE = "application/merge-patch+json"


class Played(Kubernetes):
    """In one namespace. What somebody has changed meanwhile is left to the next step."""

    def __init__(self, server: ApiServer, namespace: str) -> None:
        super().__init__()
        self.server, self.namespace = server, namespace
        self.now = lambda: iso(datetime.now(UTC))
        self._told_of = 0
        self._processes: dict[str, HealthServer] = {}
        """What drivers say of themselves, by their pods' uids."""

    def until(self, done: Callable[[], bool], what: str, limit: float = 120) -> None:
        """Everything goes on until something is so; over at once where somebody lacks a right."""
        end = time.monotonic() + limit
        while not done():
            refused = sorted(map(str, self.server.questions.refused))
            assert not refused, f"not allowed: {refused}; it was waited until {what}"
            assert time.monotonic() < end, f"after {limit:g} s not yet: {what}; {self.standing()}"
            self.lives()
            time.sleep(STEP)

    def standing(self) -> str:
        """Where everything stands."""
        pods = {
            name: i.get("status", {}).get("phase")
            for (kind, _, name), i in self.objects.items()
            if kind == POD.name
        }
        jobs = [i.get("status") for i in self.objects.values() if i["kind"] == JOB.name]
        return f"pods {pods}, jobs {jobs}"

    def lives(self) -> None:
        self.look()
        super().lives()
        for event in self.events[self._told_of :]:
            self._tell(event)
        self._told_of = len(self.events)
        for uid in self.phases.keys() - self._processes.keys():
            self._processes[uid] = self._serving(uid)

    def look(self) -> None:
        """See what there is."""
        self.objects = {}
        for kind in (JOB, SECRET, *WATCHED):
            for item in self.server.call("GET", kind.path(self.namespace))["items"]:
                self._see({"apiVersion": kind.api_version, "kind": kind.name, **item})

    def __enter__(self) -> Played:
        return self

    def __exit__(self, *error: object) -> None:
        for process in self._processes.values():
            process.close()

    # What it does is done there

    def create(self, item: Item) -> Item:
        made = copied(item)
        if made["kind"] == POD.name:
            made["spec"]["nodeName"] = "played"  # else it would be gone as soon as somebody deletes it
        return self._done(made, "POST", BY_NAME[made["kind"]].path(self.namespace), made)

    def change(self, item: Item, change: Callable[[Item], None]) -> Item:
        """Of its status; those who live here change nothing else."""
        made = copied(item)
        change(made)
        assert made | {"status": 0} == item | {"status": 0}, "somebody changes more than a status"
        return self._done(item, "PATCH", f"{_path(item)}/status", {"status": made["status"]}, MERGE)

    def remove(self, item: Item, now: bool = True) -> None:
        options = {"gracePeriodSeconds": 0} if now and item["kind"] == POD.name else {}
        self._done(item, "DELETE", _path(item), {"propagationPolicy": "Background", **options})
        if now:
            self.objects.pop(id_of(item), None)

    def patched(self, kind: Kind, name: str, patch: Item, sub: str = "") -> None:
        """What a person does."""
        self.server.call("PATCH", kind.path(self.namespace, name, sub), patch, MERGE)

    def _done(
        self, item: Item, method: str, path: str, body: Item, content: str = "application/json"
    ) -> Item:
        try:
            answer = self.server.call(method, path, body, content)
        except Refused as refusal:
            if refusal.status not in (404, 409):
                raise
            return item
        found = {"apiVersion": item["apiVersion"], "kind": item["kind"], **answer}
        if method != "DELETE":
            self._see(found)
        return found

    def _see(self, item: Item) -> None:
        self.objects[id_of(item)] = {**item, "status": item.get("status", {})}

    def _tell(self, event: Item) -> None:
        pod = next(i for i in self.all(POD) if i["metadata"]["uid"] == event["involvedObject"]["uid"])
        about = {"kind": POD.name, "namespace": self.namespace, "name": pod["metadata"]["name"]}
        made = {
            **event,
            "metadata": {"generateName": f"{pod['metadata']['name']}.", "namespace": self.namespace},
            "involvedObject": about | event["involvedObject"],
            "lastTimestamp": self.now(),
        }
        self.server.call("POST", EVENT.path(self.namespace), made)

    # Processes of drivers

    def _container(self, pod: Item, state: Item, restarts: int, ready: bool = False, **more: Any) -> Item:
        return super()._container(pod, state, restarts, ready, **more) | {
            "podIP": self._address(pod["metadata"]["uid"])
        }

    def _address(self, uid: str) -> str:
        """Of this machine, another one for each pod."""
        number = int(uid[:4], 16)
        return f"127.9.{number // 256}.{number % 254 + 1}"

    def _serving(self, uid: str) -> HealthServer:
        pod = {"metadata": {"uid": uid}}
        return HealthServer(Probes(status=lambda: self.report(pod)), HEALTH_PORT, self._address(uid))


def _path(item: Item) -> str:
    meta = item["metadata"]
    return BY_NAME[item["kind"]].path(meta["namespace"], meta["name"])
