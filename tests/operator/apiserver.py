"""An API server in memory, as far as the operator uses one: what it takes, refuses, keeps and tells of.

`Server` holds the objects; users, controllers and kubelets of a test change them by its plain methods. `Cluster` has the
methods of `tidemill_operator.cluster.Cluster`, counts each call, and fails where a test wants it to.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from typing import Any

from pydantic import ValidationError

from tidemill.api import Status
from tidemill_operator.cluster import EVENT, JOB, NAMESPACE, Item, Kind
from tidemill_operator.desired.compare import holds
from tidemill_operator.errors import ClusterError

Id = tuple[str, str, str]
"""Kind, namespace and name."""

_FIXED = {
    "Deployment": ("selector",),
    "StatefulSet": ("selector", "serviceName", "podManagementPolicy", "volumeClaimTemplates"),
    "Job": ("selector", "template", "backoffLimit"),
}
"""Fields of a spec that never change."""
_KEPT_TEMPLATE = ("Deployment", "StatefulSet", "Job")
_ATOMIC = ("selector", "matchLabels")
"""Mappings that server-side apply takes as a whole."""
_SERVICE = {"type": "ClusterIP", "sessionAffinity": "None", "internalTrafficPolicy": "Cluster"}


def id_of(item: Item) -> Id:
    return item["kind"], item["metadata"].get("namespace", ""), item["metadata"]["name"]


class Server:
    """``told`` is what a watch brings: ADDED, MODIFIED or DELETED, with the object. An object that is given out is never
    changed; `change` puts another one in its place."""

    def __init__(self) -> None:
        self.objects: dict[Id, Item] = {}
        self.told: list[tuple[str, Item]] = []
        self.events: list[Item] = []
        self.ending: set[str] = set()
        """Namespaces that are being deleted."""
        self._applied: dict[Id, Item] = {}
        self._versions, self._uids = itertools.count(100), itertools.count(1)
        self.now: Callable[[], str] = lambda: "2026-03-01T12:00:00Z"

    # What anybody may do

    def find(self, kind: Kind, namespace: str, name: str) -> Item | None:
        return self.objects.get((kind.name, namespace, name))

    def all(self, kind: Kind, labels: Mapping[str, str] | None = None) -> list[Item]:
        """In the order of their names."""
        found = sorted(key for key in self.objects if key[0] == kind.name)
        return [self.objects[key] for key in found if _labelled(self.objects[key], labels or {})]

    def create(self, item: Item) -> Item:
        made = copied(item)
        meta, key = made["metadata"], id_of(made)
        if meta.get("namespace") in self.ending:
            raise _error(403, f"{key[2]} is forbidden: namespace {key[1]} is being terminated")
        if "uid" in meta or "resourceVersion" in meta:
            raise _error(409, f"{key[2]}: the object has been deleted")
        if key in self.objects:
            raise _error(409, f"{key[2]} already exists")
        meta |= {"uid": f"uid-{next(self._uids)}", "creationTimestamp": self.now(), "generation": 1}
        _defaults(made)
        _check(made)
        return self._keep(made, "ADDED")

    def change(self, item: Item, change: Callable[[Item], None]) -> Item:
        """What ``change`` makes of an object, whoever wants it; of a spec that changes the generation grows."""
        known = self.objects[id_of(item)]
        made = copied(known)
        change(made)
        _defaults(made)
        _check(made)
        if made == known:
            return known
        _only_what_may_change(known, made)
        if made.get("spec") != known.get("spec"):
            made["metadata"]["generation"] = known["metadata"].get("generation", 0) + 1
        held = known["metadata"].get("finalizers") and not made["metadata"].get("finalizers")
        if held and "deletionTimestamp" in made["metadata"]:
            self._forget(made)
            return made
        return self._keep(made, "MODIFIED")

    def remove(self, item: Item, now: bool = True) -> None:
        """Delete; pods and what has finalizers stay until ``now``, or until somebody lets them go."""
        known = self.objects.get(id_of(item))
        if known is None:
            return
        if known["metadata"].get("finalizers") or not now:
            if "deletionTimestamp" not in known["metadata"]:
                self.change(known, lambda i: i["metadata"].update(deletionTimestamp=self.now()))
            return
        self._forget(known)

    # What the operator does

    def apply(self, item: Item) -> Item:
        key = id_of(item)
        ours, before = copied(item), self._applied.get(key, {})
        if key not in self.objects:
            made = self.create(item)
        else:
            made = self.change(item, lambda known: _apply(known, ours, before))
        self._applied[key] = ours
        return made

    def patch(self, kind: Kind, namespace: str, name: str, patch: Mapping[str, Any], sub: str) -> Item:
        known = self.objects.get((kind.name, namespace, name))
        if known is None:
            raise _error(404, f"{kind.plural} {name!r} not found")
        meta = patch.get("metadata", {})
        for field in ("uid", "resourceVersion"):
            if field in meta and meta[field] != known["metadata"][field]:
                raise _error(409, f"{name}: the object has been modified; please apply your changes")
        if sub == "status":
            return self.change(known, lambda i: _with_status(i, patch["status"]))
        assert "status" not in patch, "a status is written by its subresource"
        return self.change(known, lambda i: _merge(i, patch))

    def update(self, item: Item) -> Item:
        name, known = item["metadata"]["name"], self.objects.get(id_of(item))
        if known is None:
            raise _error(404, f"{name} not found")
        if item["metadata"]["resourceVersion"] != known["metadata"]["resourceVersion"]:
            raise _error(409, f"{name}: the object has been modified; please apply your changes")
        return self.change(known, lambda i: i.update(copied(item)))

    def delete(self, kind: Kind, namespace: str, name: str, uid: str) -> None:
        known = self.objects.get((kind.name, namespace, name))
        if known is None or (uid and uid != known["metadata"]["uid"]):
            return
        self.remove(known, now=kind.name != "Pod")

    def version(self) -> int:
        return next(self._versions)

    def _keep(self, made: Item, what: str) -> Item:
        made["metadata"]["resourceVersion"] = str(self.version())
        self.objects[id_of(made)] = made
        self.told.append((what, made))
        return made

    def _forget(self, item: Item) -> None:
        gone = copied(item)
        gone["metadata"]["resourceVersion"] = str(self.version())
        self.objects.pop(id_of(item))
        self._applied.pop(id_of(item), None)
        self.told.append(("DELETED", gone))


def copied(value: Any) -> Any:
    """Of what JSON has; some times faster than `copy.deepcopy`."""
    if isinstance(value, dict):
        return {k: copied(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(map(copied, value))
    return value


class Cluster:
    """``fails`` is asked before each call with its words and answers None, or the error and whether it comes too late:
    after the call has taken effect."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.calls: list[str] = []
        self.fails: Callable[[str], tuple[ClusterError, bool] | None] = lambda call: None

    @property
    def writes(self) -> list[str]:
        return [c for c in self.calls if c.split()[0] not in ("list", "get")]

    async def listed(
        self, kind: Kind, namespace: str | None = None, labels: str = ""
    ) -> tuple[list[Item], int]:
        def work() -> tuple[list[Item], int]:
            found = self.server.all(kind, dict([labels.split("=")]) if labels else None)
            return [
                i for i in found if namespace in (None, i["metadata"]["namespace"])
            ], self.server.version()

        return self._call(f"list {kind.name}", work)

    async def get(self, kind: Kind, namespace: str | None, name: str) -> Item | None:
        def work() -> Item | None:
            if kind is NAMESPACE:
                ends = {"deletionTimestamp": "now"} if name in self.server.ending else {}
                return {"kind": kind.name, "metadata": {"name": name, **ends}}
            return self.server.find(kind, namespace or "", name)

        return self._call(f"get {kind.name} {name}", work)

    async def events_of(self, item: Item) -> list[Item]:
        uid = item["metadata"]["uid"]
        found = [e for e in self.server.events if e["involvedObject"]["uid"] == uid]
        return self._call(f"list Event {item['metadata']['name']}", lambda: found)

    async def apply(self, item: Item) -> Item:
        return self._call(f"apply {item['kind']} {item['metadata']['name']}", lambda: self.server.apply(item))

    async def patch(
        self, kind: Kind, namespace: str, name: str, patch: Mapping[str, Any], sub: str = ""
    ) -> Item:
        what = f"patch {kind.name}{f'/{sub}' if sub else ''} {name}"
        return self._call(what, lambda: self.server.patch(kind, namespace, name, copied(patch), sub))

    async def create(self, item: Item) -> Item:
        if item["kind"] != EVENT.name:
            return self._call(f"create {item['kind']}", lambda: self.server.create(item))
        return self._call(f"create Event {item['reason']}", lambda: self.server.events.append(item) or item)

    async def update(self, kind: Kind, item: Item) -> Item:
        return self._call(f"update {kind.name} {item['metadata']['name']}", lambda: self.server.update(item))

    async def delete(self, kind: Kind, namespace: str, name: str, uid: str = "") -> None:
        return self._call(
            f"delete {kind.name} {name}", lambda: self.server.delete(kind, namespace, name, uid)
        )

    def _call(self, call: str, work: Callable[[], Any]) -> Any:
        self.calls.append(call)
        failure = self.fails(call)
        if failure is not None and not failure[1]:
            raise failure[0]
        done = copied(work())
        if failure is not None:
            raise failure[0]
        return done


def _error(status: int, message: str) -> ClusterError:
    return ClusterError(status, "the API server", message)


def _labelled(item: Item, labels: Mapping[str, str]) -> bool:
    return labels.items() <= item["metadata"].get("labels", {}).items()


def _apply(known: Any, wanted: Any, before: Any) -> None:
    """Server-side apply of one manager: what it had before and leaves out is gone."""
    for key in before.keys() - wanted.keys():
        known.pop(key, None)
    for key, value in wanted.items():
        had, has = before.get(key), known.get(key)
        if key not in _ATOMIC and isinstance(value, dict) and isinstance(has, dict):
            _apply(has, value, had if isinstance(had, dict) else {})
        else:
            known[key] = copied(value)


def _merge(known: Any, patch: Mapping[str, Any]) -> None:
    """RFC 7386."""
    for key, value in patch.items():
        if value is None:
            known.pop(key, None)
        elif isinstance(value, Mapping):
            if not isinstance(known.get(key), dict):
                known[key] = {}
            _merge(known[key], value)
        else:
            known[key] = copied(value)


def _with_status(item: Item, patch: Mapping[str, Any]) -> None:
    status = copied(item.get("status", {}))
    _merge(status, patch)
    item["status"] = _as_defined(status) if item["kind"] == JOB.name else status


def _as_defined(status: Item) -> Item:
    """What the definition does not know is dropped without a word; what it does not take is refused."""
    try:
        model = Status.model_validate(status, by_alias=True, by_name=False)
    except ValidationError as error:
        raise _error(422, f"status: {error}") from None
    for listed, key in (("queries", "name"), ("conditions", "type")):
        keys = [i[key] for i in status.get(listed, [])]
        if len(keys) != len(set(keys)):
            raise _error(422, f"status.{listed}: duplicate value: {keys}")
    kept = dict(model.model_dump(by_alias=True, exclude_unset=True))
    if not holds(status, kept):
        raise _error(422, f"status: a text is too long: {status}")
    return kept


def _defaults(item: Item) -> None:
    """Some of what the API server adds."""
    spec = item.get("spec", {})
    if item["kind"] == "Service":
        for key, value in _SERVICE.items():
            spec.setdefault(key, value)
        spec.setdefault("clusterIP", "10.0.0.1")
    if item["kind"] in _KEPT_TEMPLATE:
        for container in spec["template"]["spec"].get("containers") or []:
            container.setdefault("terminationMessagePath", "/dev/termination-log")
            for port in container.get("ports", []):
                port.setdefault("protocol", "TCP")
        spec["template"]["spec"].setdefault("dnsPolicy", "ClusterFirst")
    if item["kind"] == JOB.name:
        spec.setdefault("suspend", False)
        spec.setdefault("executor", {}).setdefault("replicas", 1)


def _check(item: Item) -> None:
    meta = item["metadata"]
    for key, value in meta.get("labels", {}).items():
        if len(value) > 63:
            raise _error(422, f"metadata.labels[{key}]: must be no more than 63 characters")
    if item["kind"] not in _KEPT_TEMPLATE:
        return
    pod = item["spec"]["template"]["spec"]
    if not pod.get("containers"):
        raise _error(422, "spec.template.spec.containers: Required value")
    for container in pod["containers"]:
        if not container.get("image"):
            raise _error(422, f"spec.template.spec.containers[{container['name']}].image: Required value")
        mounts = {m["name"] for m in container.get("volumeMounts", [])}
        if missing := mounts - {v["name"] for v in pod.get("volumes", [])}:
            raise _error(422, f"spec.template.spec.containers.volumeMounts: Not found: {sorted(missing)}")


def _only_what_may_change(known: Item, made: Item) -> None:
    kind, name = known["kind"], known["metadata"]["name"]
    if known.get("immutable") and known.get("data") != made.get("data"):
        raise _error(422, f"{name}: data: Forbidden: field is immutable when `immutable` is set")
    for field in _FIXED.get(kind, ()):
        if known["spec"].get(field) != made["spec"].get(field):
            raise _error(422, f"{name}: spec.{field}: Invalid value: field is immutable")
    if "deletionTimestamp" in known["metadata"]:
        new = set(made["metadata"].get("finalizers", [])) - set(known["metadata"].get("finalizers", []))
        if new:
            raise _error(422, f"{name}: metadata.finalizers: Forbidden: no new finalizers: {sorted(new)}")
