"""What a story about one job is written in: somebody wants something, the operator passes, the cluster lives on.

    story = Story().settles()
    story.edit(sql="SELECT 2 AS a").passes()
    assert story.did == ["apply ConfigMap web-logs-B", "apply Deployment web-logs-driver-B"]

Revisions are called A, B, C, ... in the order in which they come up, executors' revisions x1, x2, ...
"""

from __future__ import annotations

import asyncio
import re
from copy import deepcopy
from datetime import UTC, datetime, timedelta
from typing import Any

from tests.operator.apiserver import Cluster
from tests.operator.kubernetes import Fate, Kubernetes, everything
from tidemill_operator import names
from tidemill_operator.actions import Decision
from tidemill_operator.apply import Applier
from tidemill_operator.cluster import (
    CONFIG_MAP,
    DEPLOYMENT,
    JOB,
    NAMESPACE,
    POD,
    SERVICE,
    STATEFUL_SET,
    Item,
    Kind,
)
from tidemill_operator.decide import decide
from tidemill_operator.moments import iso
from tidemill_operator.names import REVISION, label_of, name_of
from tidemill_operator.observe import hint, stuck
from tidemill_operator.platform import Platform
from tidemill_operator.world import Observed, World, leaving, slim

NAME, PLACE = "web-logs", "shop"
BEGIN = datetime(2026, 3, 1, 12, tzinfo=UTC)
PLATFORM = Platform(image="tidemill:1", checkpoint="redis://redis:6379/0")
SPEC: dict[str, Any] = {
    "sources": [{"name": "access", "format": "rate"}],
    "queries": [{"name": "hits", "sql": "SELECT * FROM access", "sink": {"format": "noop"}}],
}


def job(**spec: Any) -> Item:
    """The manifest; ``spec`` in Python's words: ``driver_resources={...}`` or ``executor={"replicas": 2}``."""
    return {
        "apiVersion": JOB.api_version,
        "kind": JOB.name,
        "metadata": {"name": NAME, "namespace": PLACE},
        "spec": {**deepcopy(SPEC), **spec},
    }


class Story:
    """``did`` is what the last pass has done to objects, ``told`` the events that it wrote."""

    def __init__(self, platform: Platform = PLATFORM, **spec: Any) -> None:
        self.platform, self.now = platform, BEGIN
        self.cluster = Kubernetes()
        self.cluster.now = lambda: iso(self.now)
        self.api = Cluster(self.cluster)
        self.world = World()
        self._letters: dict[str, str] = {}
        self._reports: dict[str, dict[str, Any]] = {}
        self._hints: dict[str, str] = {}
        self.decision: Decision | None = None
        self.seen: Observed | None = None
        """What the next pass sees in place of what there is."""
        self.rejected = ""
        """What the API server has refused in the last pass."""
        self.did: list[str] = []
        self.told: list[str] = []
        self.cluster.create(job(**spec))

    # What people do

    def edit(self, sql: str | None = None, **spec: Any) -> Story:
        """Change fields of the spec; None takes one away."""

        def change(item: Item) -> None:
            item["spec"] |= deepcopy(spec)
            for key in [k for k, v in spec.items() if v is None]:
                del item["spec"][key]
            if sql is not None:
                item["spec"]["queries"] = [{**SPEC["queries"][0], "sql": sql}]

        self.cluster.change(self.job, change)
        return self

    def scale(self, replicas: int) -> Story:
        """`kubectl scale`: the number alone changes."""
        self.cluster.change(self.job, lambda i: i["spec"]["executor"].update(replicas=replicas))
        return self

    def restart_at(self, moment: datetime | str) -> Story:
        """`kubectl annotate`."""
        text = moment if isinstance(moment, str) else iso(moment)
        self.cluster.change(
            self.job, lambda i: i["metadata"].setdefault("annotations", {}).update({names.RESTART_AT: text})
        )
        return self

    def delete(self) -> Story:
        self.cluster.remove(self.job)
        return self

    def loses(self, kind: Kind, name: str = "") -> Story:
        """Somebody deletes an object, or all of a kind."""
        for item in self.cluster.all(kind):
            if name in ("", name_of(item)):
                self.cluster.remove(item)
        return self

    def upgrades(self, platform: Platform | None = None) -> Story:
        """Another operator takes over, that knows nothing but what is in the cluster."""
        self.platform, self.world = platform or self.platform, World()
        return self

    # What happens

    def fate(self, word: str, **fate: Any) -> Story:
        """Of pods whose name, image or manifest holds the word."""
        self.cluster.fates[word] = Fate(**fate)
        return self

    def says(self, driver: str, **report: Any) -> Story:
        """Lay fields over what the driver of a revision says of itself."""
        self._reports[driver] = report
        return self

    def waits(self, **time: float) -> Story:
        self.now += timedelta(**time)
        return self

    def lives(self, steps: int = 1) -> Story:
        """Controllers, kubelets and pods go on."""
        for _ in range(steps):
            self.cluster.lives()
        return self

    def passes(self) -> Story:
        """One pass of the operator, over what there is at this moment."""
        if not self.exists:
            return self
        before = len(self.api.calls)
        seen, self.seen = self.seen or self.observed(), None
        self.decision = decide(seen, self.platform, self.now)
        applier = Applier(self.api, self.world, self.platform.figures, lambda: self.now)
        try:
            asyncio.run(applier.apply(seen, self.decision))
        finally:
            calls = [self.lettered(c) for c in self.api.calls[before:]]
            self.told = [c.removeprefix("create Event ") for c in calls if c.startswith("create Event")]
            self.did = [c for c in calls if not c.startswith(("create Event", "patch StreamingJob/status"))]
            self.wrote = bool(calls)
        return self

    def settles(self, steps: int = 40) -> Story:
        """Pass and live, a second each, until nothing changes."""
        for _ in range(steps):
            before = deepcopy([self.cluster.objects, self.cluster.phases])
            self.waits(seconds=1).passes().lives()
            if before == [self.cluster.objects, self.cluster.phases]:
                return self
        raise AssertionError(f"still at it after {steps} steps: {self.did}, {self.status}")

    def observed(self) -> Observed:
        self.world.__init__()  # type: ignore[misc]
        for item in everything(self.cluster):
            self.world.put(item)
        key = (PLACE, NAME)
        drivers = self.cluster.all(POD, names.selector(NAME, names.DRIVER))
        reports = {name_of(p): said for p in drivers if (said := self._report(p))}
        ends = leaving(self.job) and PLACE in self.cluster.ending
        items = self.world.items(key)
        hints = {name_of(i): said for i in stuck(items) if (said := hint(i, self._events_of(i)))}
        return Observed(slim(self.job), items, reports, hints, ends, self.rejected)

    def _report(self, pod: Item) -> dict[str, Any]:
        found = self.cluster.report(pod)
        laid = self._reports.get(self.letter(label_of(pod, REVISION)), {})
        return {**found, **laid} if found else {}

    def _events_of(self, item: Item) -> list[Item]:
        return [e for e in self.cluster.events if e["involvedObject"].get("uid") == item["metadata"]["uid"]]

    # What there is

    @property
    def exists(self) -> bool:
        return self.cluster.find(JOB, PLACE, NAME) is not None

    @property
    def job(self) -> Item:
        found = self.cluster.find(JOB, PLACE, NAME)
        assert found is not None, "the job is gone"
        return found

    @property
    def status(self) -> Item:
        return dict(self.job.get("status", {}))

    @property
    def phase(self) -> str:
        return str(self.status.get("phase", ""))

    @property
    def message(self) -> str:
        return self.lettered(str(self.status.get("message", "")))

    @property
    def active(self) -> str:
        """The letter of the revision that is, or is to be, the one."""
        return self.letter(self.status.get("revision", ""))

    def condition(self, kind: str) -> str:
        """Its reason if it holds, or nothing."""
        found = next(c for c in self.status["conditions"] if c["type"] == kind)
        return str(found["reason"]) if found["status"] == "True" else ""

    @property
    def drivers(self) -> list[str]:
        """Revisions that have a driver that is to stay."""
        found = [d for d in self.cluster.all(DEPLOYMENT) if not leaving(d)]
        return sorted(self.letter(label_of(d, REVISION)) for d in found)

    @property
    def leads(self) -> list[str]:
        """The revisions of the drivers to which executors are led."""
        service = self.cluster.find(SERVICE, PLACE, names.driver_service(NAME))
        found = [service["spec"]["selector"][REVISION]] if service else []
        return [self.letter(r) for r in found]

    @property
    def executors(self) -> dict[str, str]:
        """Pods of executors by number: their revision, with ``?`` if it is not ready and ``-`` if it leaves."""
        found = self.cluster.all(POD, names.selector(NAME, names.EXECUTOR))
        return {name_of(p).rpartition("-")[2]: self._of_executor(p) for p in found}

    def _of_executor(self, pod: Item) -> str:
        ready = any(
            c["type"] == "Ready" and c["status"] == "True" for c in pod["status"].get("conditions", [])
        )
        return self.letter(label_of(pod, REVISION), "x") + ("-" if leaving(pod) else "" if ready else "?")

    def template(self, kind: Kind = DEPLOYMENT) -> Item:
        """Of the pods of the one object of a kind."""
        (found,) = self.cluster.all(kind)
        return dict(found["spec"]["template"])

    def manifest(self, letter: str) -> Item:
        """The spec that a revision runs."""
        import json

        found = [c for c in self.cluster.all(CONFIG_MAP) if self.letter(label_of(c, REVISION)) == letter]
        return dict(json.loads(found[0]["data"]["job.yaml"])["spec"])

    def name_of_config(self, letter: str) -> str:
        return next(
            name_of(c)
            for c in self.cluster.all(CONFIG_MAP)
            if self.lettered(name_of(c)) == f"{NAME}-{letter}"
        )

    @property
    def wanted_replicas(self) -> int:
        found = self.cluster.find(STATEFUL_SET, PLACE, names.executor(NAME))
        assert found is not None
        return int(found["spec"]["replicas"])

    # Letters

    def letter(self, revision: str, kind: str = "") -> str:
        if not revision:
            return ""
        if revision not in self._letters:
            number = sum(len(v) > 1 for v in self._letters.values()) if kind else 0
            taken = sum(len(v) == 1 for v in self._letters.values())
            self._letters[revision] = f"x{number + 1}" if kind else chr(ord("A") + taken)
        return self._letters[revision]

    def lettered(self, text: str) -> str:
        """With letters for revisions."""
        return re.sub(r"\b[0-9a-f]{8}\b", lambda found: self.letter(found[0]), text)


def ends(story: Story) -> Story:
    """Its namespace is being deleted."""
    story.cluster.ending.add(PLACE)
    return story


__all__ = ["BEGIN", "NAME", "NAMESPACE", "PLACE", "PLATFORM", "Story", "ends", "job"]
