"""The rest of a cluster: controllers that make pods, a garbage collector, kubelets, and the processes in the pods.

`Kubernetes.lives` lets each of them do the next thing that it would do; a test calls it as often as it wants.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from tests.operator.apiserver import Server, copied
from tidemill_operator.cluster import (
    CONFIG_MAP,
    DEPLOYMENT,
    JOB,
    POD,
    PURGE,
    SECRET,
    SERVICE,
    STATEFUL_SET,
    WATCHED,
    Item,
    Kind,
)
from tidemill_operator.names import COMPONENT, DRIVER, EXECUTOR, REVISION, label_of, name_of
from tidemill_operator.world import leaving


@dataclass(frozen=True)
class Fate:
    """What becomes of a pod that does not simply run."""

    exits: int | None = None
    """Its process ends with this code, whenever it is started."""
    says: str = ""
    """Its termination message, or what else is told of why it does not run."""
    waiting: str = ""
    """The reason for which its container is not started, like ErrImagePull."""
    oom: bool = False
    unschedulable: bool = False
    completes: bool = False
    """Its driver has nothing left to do once it has run."""
    starts: bool = True
    """False: its process runs and gets no further; a driver is `starting`, an executor not ready."""
    forbidden: bool = False
    """No pod of this name is made: a quota, or a policy of the namespace; ``says`` why."""
    unfinished: bool = False
    """It does not end when it is told to."""


class Kubernetes(Server):
    """``fates`` by a word in a pod's name (``driver``, ``executor-1``), in its image, or in the manifest of a driver; the
    first that fits."""

    def __init__(self) -> None:
        super().__init__()
        self.fates: dict[str, Fate] = {}
        self.holder = ""
        """The uid of the driver pod that holds the checkpoint's lease."""
        self.lives_of_drivers = 0
        self.phases: dict[str, str] = {}
        """Of processes of drivers, by their pods' uids."""
        self._numbers: dict[str, int] = {}

    def lives(self) -> None:
        """One step of everything."""
        self._collect_garbage()
        alive = {p["metadata"]["uid"] for p in self.all(POD)}
        self.phases = {uid: phase for uid, phase in self.phases.items() if uid in alive}
        self.holder = self.holder if self.holder in alive else ""
        for deployment in self.all(DEPLOYMENT):
            self._deploys(deployment)
        for wanted in self.all(STATEFUL_SET):
            self._scales(wanted)
        for purge in self.all(PURGE):
            self._purges(purge)
        for pod in self.all(POD):
            self._kubelet(pod)

    def report(self, pod: Item) -> dict[str, Any]:
        """What the process of a driver's pod says of itself; nothing if there is none."""
        phase = self.phases.get(pod["metadata"]["uid"])
        return (
            {}
            if phase is None
            else {"phase": phase, "generation": self.lives_of_drivers, "queries": _QUERIES}
        )

    def find_pod(self, name: str) -> Item:
        return next(p for p in self.all(POD) if name_of(p) == name)

    def find_service(self, name: str) -> Item:
        return next(s for s in self.all(SERVICE) if name_of(s) == name)

    def manifest_of(self, revision: str) -> Item:
        """The spec that a revision runs."""
        found = next(c for c in self.all(CONFIG_MAP) if label_of(c, REVISION) == revision)
        return dict(json.loads(found["data"]["job.yaml"])["spec"])

    # Controllers

    def _collect_garbage(self) -> None:
        alive = {i["metadata"]["uid"] for i in self.objects.values()}
        for item in list(self.objects.values()):
            if owners(item) and not alive & set(owners(item)):
                self.remove(item, now=item["kind"] != POD.name)

    def _deploys(self, deployment: Item) -> None:
        pods = self._of(deployment)
        staying = [p for p in pods if not leaving(p)]
        wanted = deployment["spec"]["replicas"]
        if not wanted:
            for pod in staying:
                self.remove(pod, now=False)
        elif not staying:
            number = self._numbers[name_of(deployment)] = self._numbers.get(name_of(deployment), 0) + 1
            self._begin(deployment, f"{name_of(deployment)}-{number}")

    def _scales(self, wanted: Item) -> None:
        seen = {"observedGeneration": wanted["metadata"]["generation"]}
        self.change(wanted, lambda i: i.setdefault("status", {}).update(seen))
        pods = {name_of(p): p for p in self._of(wanted)}
        names = [f"{name_of(wanted)}-{n}" for n in range(wanted["spec"]["replicas"])]
        for name in names:
            fate = next((fate for word, fate in self.fates.items() if word in name), Fate())
            if name not in pods and fate.forbidden:
                self._cannot_make(wanted, name, fate.says)
            elif name not in pods:
                self._begin(wanted, name)
        for name, pod in pods.items():
            if name not in names:
                self.remove(pod, now=False)

    def _cannot_make(self, wanted: Item, name: str, why: str) -> None:
        """The controller tries again and again, and tells of it by an event only."""
        told = f'create Pod {name} in StatefulSet {name_of(wanted)} failed error: pods "{name}" is forbidden: {why}'
        about = {"involvedObject": {"uid": wanted["metadata"]["uid"]}, "type": "Warning", "message": told}
        self.events = [e for e in self.events if e.get("message") != told]
        self.events.append({**about, "reason": "FailedCreate", "lastTimestamp": self.now()})

    def _purges(self, purge: Item) -> None:
        if not self._of(purge) and not purge.get("status"):
            self._begin(purge, f"{name_of(purge)}-1")

    def _of(self, owner: Item) -> list[Item]:
        uid = owner["metadata"]["uid"]
        return [p for p in self.all(POD) if uid in owners(p)]

    def _begin(self, owner: Item, name: str) -> None:
        template, meta = copied(owner["spec"]["template"]), owner["metadata"]
        own = {"name": name, "namespace": meta["namespace"]}
        reference = {"apiVersion": owner["apiVersion"], "kind": owner["kind"]}
        reference |= {"name": meta["name"], "uid": meta["uid"]}
        if (POD.name, meta["namespace"], name) in self.objects or meta["namespace"] in self.ending:
            return
        made = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {**template["metadata"], **own, "ownerReferences": [reference]},
            "spec": template["spec"],
            "status": {"phase": "Pending"},
        }
        self.create(made)

    # Kubelets, and what runs in pods

    def _kubelet(self, pod: Item) -> None:
        fate = self.fate(pod)
        uid = pod["metadata"]["uid"]
        if leaving(pod):
            if not fate.unfinished:
                self.phases.pop(uid, None)
                self.holder = "" if self.holder == uid else self.holder
                self.remove(pod)
            return
        status = self._status(pod, fate)
        self.change(pod, lambda p: p.update(status=status))
        if status["phase"] == "Succeeded" or fate.exits and label_of(pod, COMPONENT) == "purge":
            self._purge_ends(pod, fate)

    def fate(self, pod: Item) -> Fate:
        told = " ".join([name_of(pod), *(c["image"] for c in pod["spec"]["containers"])])
        if label_of(pod, COMPONENT) == DRIVER:
            told += self._manifest(pod)
        return next((fate for word, fate in self.fates.items() if word in told), Fate())

    def _manifest(self, pod: Item) -> str:
        mounted = [v["configMap"]["name"] for v in pod["spec"].get("volumes", []) if v["name"] == "job"]
        found = [self.find(CONFIG_MAP, pod["metadata"]["namespace"], name) for name in mounted]
        return "".join(json.dumps(i.get("data", {})) for i in found if i)

    def _status(self, pod: Item, fate: Fate) -> Item:
        if fate.unschedulable or fate.waiting:
            self._stops(pod)  # a pod that runs and comes to that is one that was put in its place
        if fate.unschedulable:
            condition = {"type": "PodScheduled", "status": "False", "message": fate.says}
            return {"phase": "Pending", "conditions": [condition]}
        known = pod["status"].get("containerStatuses", [{}])[0]
        restarts = known.get("restartCount", 0)
        if fate.waiting:
            return self._container(pod, {"waiting": {"reason": fate.waiting, "message": fate.says}}, restarts)
        if missing := list(self._missing(pod)):
            told = f"MountVolume.SetUp failed: {', '.join(missing)} not found"
            about = {"involvedObject": {"uid": pod["metadata"]["uid"]}, "type": "Warning", "message": told}
            if not any(e.get("message") == told for e in self.events):
                self.events.append(about)
            return self._container(pod, {"waiting": {"reason": "ContainerCreating"}}, restarts)
        if fate.exits is not None or fate.oom:
            return self._ends(pod, fate, known)
        return self._runs(pod, fate, known)

    def _missing(self, pod: Item) -> Iterator[str]:
        namespace = pod["metadata"]["namespace"]
        for volume in pod["spec"].get("volumes", []):
            for key, kind, field in (("configMap", CONFIG_MAP, "name"), ("secret", SECRET, "secretName")):
                if key in volume and self.find(kind, namespace, volume[key][field]) is None:
                    yield f'{kind.name.lower()} "{volume[key][field]}"'

    def _stops(self, pod: Item) -> None:
        uid = pod["metadata"]["uid"]
        self.holder = "" if self.holder == uid else self.holder
        self.phases.pop(uid, None)

    def _ends(self, pod: Item, fate: Fate, known: Mapping[str, Any]) -> Item:
        self._stops(pod)
        ended = {"exitCode": 137 if fate.oom else fate.exits, "message": fate.says}
        ended |= {"reason": "OOMKilled"} if fate.oom else {}
        again = min(known.get("restartCount", -1) + 1, _LONG)
        waiting = {
            "waiting": {"reason": "CrashLoopBackOff", "message": "back-off 40s restarting failed container"}
        }
        return self._container(pod, waiting, again, lastState={"terminated": ended})

    def _runs(self, pod: Item, fate: Fate, known: Mapping[str, Any]) -> Item:
        component, uid = label_of(pod, COMPONENT), pod["metadata"]["uid"]
        more = {k: known[k] for k in ("lastState",) if k in known}
        running = known.get("state", {})
        if "running" not in running:
            running = {"running": {"startedAt": self.now()}}
        if component == "purge":
            return {"phase": "Succeeded"}
        if component == DRIVER and uid in self.phases:
            self._driver(uid, fate)
        elif component == DRIVER:
            self.phases[uid] = "starting"
        ready = fate.starts and (component == DRIVER and self.phases[uid] == "running" or self._joins(pod))
        return self._container(pod, running, known.get("restartCount", 0), ready=ready, **more)

    def _driver(self, uid: str, fate: Fate) -> None:
        if not fate.starts:
            return
        if not self.holder:
            self.holder = uid
            self.lives_of_drivers += 1
        done = self.phases[uid] == "running" and fate.completes
        self.phases[uid] = "standby" if self.holder != uid else "completed" if done else "running"

    def _joins(self, pod: Item) -> bool:
        """Whether an executor serves the driver that its service leads it to."""
        if label_of(pod, COMPONENT) != EXECUTOR:
            return False
        service = self.find(
            SERVICE, pod["metadata"]["namespace"], f"{label_of(pod, 'tidemill.dev/job')}-driver"
        )
        drivers = self.all(POD, service["spec"]["selector"]) if service else []
        return any(
            self.phases.get(d["metadata"]["uid"]) == "running" and _trust(d) == _trust(pod) for d in drivers
        )

    def _container(self, pod: Item, state: Item, restarts: int, ready: bool = False, **more: Any) -> Item:
        container = {"name": "tidemill", "image": pod["spec"]["containers"][0]["image"], "ready": ready}
        container |= {"state": state, "restartCount": restarts, **more}
        conditions = [{"type": "PodScheduled", "status": "True"}, {"type": "Ready", "status": str(ready)}]
        runs = {"phase": "Running", "podIP": "10.0.0.9"} if "waiting" not in state else {"phase": "Pending"}
        return {**runs, "conditions": conditions, "containerStatuses": [container]}

    def _purge_ends(self, pod: Item, fate: Fate) -> None:
        owner = self.find(PURGE, pod["metadata"]["namespace"], pod["metadata"]["ownerReferences"][0]["name"])
        if owner is not None:
            failed = {"conditions": [{"type": "Failed", "status": "True"}], "failed": 1}
            self.change(owner, lambda i: i.update(status=failed if fate.exits else {"succeeded": 1}))


_LONG = 6
"""Restarts after which it takes so long until the next one that a story is over."""
_QUERIES = [
    {"name": "hits", "phase": "idle", "batchId": 4, "committedAt": "2026-03-01T11:59:58Z", "lagRows": 10}
]


def owners(item: Item) -> list[str]:
    """Their uids."""
    return [o["uid"] for o in item["metadata"].get("ownerReferences", [])]


def _trust(pod: Item) -> tuple[str, list[str]]:
    """Driver and executor work together if they are of one image and one CA."""
    secrets = [v["secret"]["secretName"] for v in pod["spec"].get("volumes", []) if v["name"] == "tls"]
    return pod["spec"]["containers"][0]["image"], secrets


def everything(server: Server) -> list[Item]:
    """What the operator sees, as its cache has it."""
    kinds: tuple[Kind, ...] = (JOB, *WATCHED)
    return [i for kind in kinds for i in server.all(kind)]


def revision_of(pod: Item) -> str:
    return label_of(pod, REVISION)
