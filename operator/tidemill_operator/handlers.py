"""What kopf tells us: something has changed. It is noted, and the job is marked; nothing is decided here."""

from __future__ import annotations

from typing import Any

import kopf

from tidemill_operator.cluster import JOB, WATCHED, Kind
from tidemill_operator.names import MANAGED, MANAGER
from tidemill_operator.reconcile import Reconciler


def registry(reconciler: Reconciler) -> kopf.OperatorRegistry:
    """A handler for each kind that we look at."""
    made = kopf.OperatorRegistry()
    kopf.on.login(registry=made)(_login)
    for kind in (JOB, *WATCHED):
        _listen(made, kind, reconciler)
    return made


def _login(**known: Any) -> kopf.ConnectionInfo | None:
    """As `Cluster.connect`: by this pod's service account, or by KUBECONFIG."""
    return kopf.login_with_service_account(**known) or kopf.login_with_kubeconfig(**known)


def _listen(made: kopf.OperatorRegistry, kind: Kind, reconciler: Reconciler) -> None:
    @kopf.on.event(kind.group, kind.version, kind.plural, registry=made, id=f"see-{kind.plural}")
    async def see(event: Any, **_: Any) -> None:
        observer = reconciler.observer
        assert observer is not None, "kopf begins once everything has been read"
        item = {"apiVersion": kind.api_version, "kind": kind.name, **event["object"]}
        gone = event["type"] == "DELETED"
        key = observer.world.drop(item) if gone else observer.world.put(item)
        if key is not None:
            reconciler.queue.mark(key)


class _NoDiffs(kopf.DiffBaseStorage):
    """In place of a copy of every object that kopf hears of: nobody asks it what has changed, and most of its time went
    into that."""

    def build(self, **_: Any) -> kopf.BodyEssence:
        return kopf.BodyEssence()

    def fetch(self, **_: Any) -> None:
        return None

    def store(self, **_: Any) -> None:
        raise NotImplementedError("handlers of changes need what kopf remembers")


def settings() -> kopf.OperatorSettings:
    """kopf as we use it: it watches, and writes nothing of its own."""
    made = kopf.OperatorSettings()
    made.posting.enabled = False
    made.scanning.disabled = True
    made.peering.standalone = True
    made.queueing.idle_timeout = 0.5
    made.execution.max_workers = 1
    made.persistence.diffbase_storage = _NoDiffs()
    for kind in WATCHED:
        made.watching.label_selectors[kind.group, kind.plural] = f"{MANAGED}={MANAGER}"
    return made
