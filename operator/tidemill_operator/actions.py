"""What can be decided: `apply` carries it out, in order."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tidemill_operator.cluster import Item, Kind
from tidemill_operator.desired.plan import Plan


@dataclass(frozen=True)
class Apply:
    """Make an object, or make it what it should be."""

    item: Item


@dataclass(frozen=True)
class Patch:
    """Change some fields of an object that is there."""

    kind: Kind
    name: str
    patch: Mapping[str, Any]


@dataclass(frozen=True)
class Delete:
    """Take an object away; ``uid`` guards against taking its successor."""

    kind: Kind
    name: str
    uid: str = ""


@dataclass(frozen=True)
class MakeCertificates:
    """A new CA of the job, and a certificate of it for its processes, in the Secret that the plan names."""

    plan: Plan
    days: int


Action = Apply | Patch | Delete | MakeCertificates


@dataclass(frozen=True)
class Event:
    """A transition, for `kubectl describe`."""

    reason: str
    message: str
    warning: bool = False


@dataclass(frozen=True)
class Decision:
    """What to do now, what to say of it, and when to look again by ourselves."""

    actions: tuple[Action, ...]
    status: dict[str, Any]
    events: tuple[Event, ...] = ()
    again: float | None = None
    """Seconds; None: when something changes."""
    restarted: str = ""
    """The cause of a planned restart that has just been done."""
