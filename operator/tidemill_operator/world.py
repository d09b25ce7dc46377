"""What there is: the objects of all jobs as the API server last told them. Pure; `observe` fills it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from tidemill_operator import names
from tidemill_operator.cluster import DEPLOYMENT, JOB, POD, STATEFUL_SET, Item, Kind
from tidemill_operator.names import label_of, name_of

Key = tuple[str, str]
"""A job: its namespace and name."""


@dataclass(frozen=True)
class Observed:
    """All that is known of one job at one moment."""

    job: Item
    items: tuple[Item, ...] = ()
    """What was made for it, pods included."""
    reports: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """What drivers say of themselves (`/api/v1/status`), by their pods' names; not of those that do not answer."""
    hints: Mapping[str, str] = field(default_factory=dict)
    """What events say of pods that are stuck, and of a StatefulSet that makes no pods, by their names."""
    namespace_ends: bool = False
    """The namespace is being deleted: nothing can be made in it."""
    rejected: str = ""
    """What the API server has refused in the last pass, and why."""

    def find(self, kind: Kind, name: str) -> Item | None:
        return next((i for i in self.items if i["kind"] == kind.name and name_of(i) == name), None)

    def of(self, kind: Kind, component: str = "") -> list[Item]:
        """In the order of their names."""
        found = [i for i in self.items if i["kind"] == kind.name]
        return [i for i in found if not component or label_of(i, names.COMPONENT) == component]

    def drivers(self) -> dict[str, Item]:
        """The driver Deployments by revision."""
        return {label_of(d, names.REVISION): d for d in self.of(DEPLOYMENT, names.DRIVER)}

    def driver_pods(self, revision: str = "") -> list[Item]:
        pods = self.of(POD, names.DRIVER)
        return [p for p in pods if not revision or label_of(p, names.REVISION) == revision]

    def executor_pods(self) -> list[Item]:
        return self.of(POD, names.EXECUTOR)

    def report(self, revision: str) -> Mapping[str, Any]:
        """Of the driver of a revision that answers; empty if none does."""
        answers = (self.reports.get(name_of(p)) for p in self.driver_pods(revision) if not leaving(p))
        return next((a for a in answers if a), {})


def leaving(item: Item) -> bool:
    """Whether it is being deleted."""
    return "deletionTimestamp" in item["metadata"]


def ready(pod: Item) -> bool:
    conditions = pod.get("status", {}).get("conditions", [])
    return not leaving(pod) and any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)


class World:
    """The cache. ``put`` and ``drop`` give the job that is to be looked at again, if there is news."""

    def __init__(self) -> None:
        self.jobs: dict[Key, Item] = {}
        self._items: dict[Key, dict[tuple[str, str], Item]] = {}

    def put(self, item: Item) -> Key | None:
        """Of two versions of one object the newer one stays: what a write answered may be ahead of what is watched, and is no
        news when it comes again."""
        item = slim(item)
        key = key_of(item)
        if key is None:
            return None
        place, own = self._place(key, item)
        known = place.get(own)
        if known is not None and _uid(known) == _uid(item) and _version(known) >= _version(item) > 0:
            return None
        place[own] = item
        return key

    def drop(self, item: Item) -> Key | None:
        key = key_of(item)
        if key is None:
            return None
        place, own = self._place(key, item)
        if own in place and _uid(place[own]) == _uid(item):
            del place[own]
        if not self._items.get(key, True):
            del self._items[key]
        return key

    def replace(self, kind: Kind, items: Iterable[Item], version: int) -> None:
        """What a list of all objects of a kind said at ``version``. Objects that are missing in it are gone, unless they are
        newer."""
        listed = {(i["metadata"]["namespace"], name_of(i), _uid(i)): i for i in items}
        for key, known in self._known(kind):
            missing = (key[0], name_of(known), _uid(known)) not in listed
            if missing and _version(known) <= version:
                self.drop(known)
        for item in listed.values():
            self.put(item)

    def items(self, key: Key) -> tuple[Item, ...]:
        """All that belongs to a job."""
        return tuple(sorted(self._items.get(key, {}).values(), key=lambda i: (i["kind"], name_of(i))))

    def _place(self, key: Key, item: Item) -> tuple[dict[Any, Item], Any]:
        if item["kind"] == JOB.name:
            return self.jobs, key
        return self._items.setdefault(key, {}), (item["kind"], name_of(item))

    def _known(self, kind: Kind) -> list[tuple[Key, Item]]:
        if kind is JOB:
            return list(self.jobs.items())
        return [(k, i) for k, items in self._items.items() for i in items.values() if i["kind"] == kind.name]


def key_of(item: Item) -> Key | None:
    """The job that an object is, or belongs to."""
    meta = item["metadata"]
    name = meta["name"] if item["kind"] == JOB.name else label_of(item, names.JOB_LABEL)
    return (meta["namespace"], name) if name else None


def slim(item: Item) -> Item:
    """Without what takes room and is never looked at."""
    meta = {k: v for k, v in item["metadata"].items() if k not in ("managedFields", "selfLink")}
    if names.LAST_APPLIED in meta.get("annotations", {}):
        meta["annotations"] = {k: v for k, v in meta["annotations"].items() if k != names.LAST_APPLIED}
    slimmed = {**item, "metadata": meta}
    if item["kind"] == POD.name:
        slimmed["spec"] = _slim_pod(item.get("spec", {}))
    elif item["kind"] in (DEPLOYMENT.name, STATEFUL_SET.name):
        template = {"spec": _slim_pod(item["spec"]["template"]["spec"])}
        slimmed["spec"] = {"replicas": item["spec"].get("replicas"), "template": template}
    return slimmed


def _slim_pod(spec: Item) -> Item:
    containers = [{"name": c["name"], "image": c.get("image", "")} for c in spec.get("containers", [])]
    volumes = [v for v in spec.get("volumes", []) if v["name"] == names.TLS_VOLUME]
    return {"containers": containers, "volumes": volumes}


def _uid(item: Item) -> str:
    return str(item["metadata"].get("uid", ""))


def _version(item: Item) -> int:
    """Versions of one object can be compared as numbers (since Kubernetes 1.35 by promise, before that in fact)."""
    version = str(item["metadata"].get("resourceVersion", ""))
    return int(version) if version.isdigit() else 0
