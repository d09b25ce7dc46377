"""What the operator remembers of a job between passes; kept in its status, so that any replica knows it. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from tidemill_operator.moments import iso, parsed


@dataclass(frozen=True)
class Restart:
    """The last planned restart, or the one under way."""

    token: str = ""
    """Makes a revision of its own; what asked for it."""
    cause: str = ""
    requested: datetime | None = None
    started: datetime | None = None
    """When the old driver was told to stop."""
    finished: datetime | None = None
    pause: float | None = None
    """Seconds between the two."""
    next: datetime | None = None
    """When the schedule asks for one."""


@dataclass(frozen=True)
class Refusal:
    """A change that was not made."""

    revision: str = ""
    generation: int = 0
    reason: str = ""


@dataclass(frozen=True)
class Memory:
    """``revision`` is the active one: whose driver executors are led to."""

    revision: str = ""
    image: str = ""
    checkpoint: str = ""
    """The platform's place, if the job names none: as it was when the job first ran."""
    serial: int = 0
    """Of the certificates' Secret."""
    valid_to: datetime | None = None
    restart: Restart = field(default_factory=Restart)
    refused: Refusal = field(default_factory=Refusal)
    completed: str = ""
    """The revision that has nothing left to do."""
    completed_at: datetime | None = None
    phase: str = ""
    trouble: str = ""
    """The reason of the condition Degraded, while it holds."""

    @classmethod
    def of(cls, status: Mapping[str, Any]) -> Memory:
        """From the status of a job; what is missing or wrong there is as if it had never been."""
        restart, refused = _dict(status, "restart"), _dict(status, "refused")
        certificates, completed = _dict(status, "certificates"), _dict(status, "completed")
        serial = str(certificates.get("secret", "")).rpartition("-tls-")[2]
        return cls(
            revision=str(status.get("revision") or ""),
            image=str(status.get("image") or ""),
            checkpoint=str(status.get("checkpoint") or ""),
            serial=int(serial) if serial.isdigit() else 0,
            valid_to=parsed(certificates.get("notAfter")),
            restart=Restart(
                token=str(restart.get("token") or ""),
                cause=str(restart.get("cause") or ""),
                requested=parsed(restart.get("requestedAt")),
                started=parsed(restart.get("startedAt")),
                finished=parsed(restart.get("finishedAt")),
                pause=_float(restart.get("pauseSeconds")),
                next=parsed(restart.get("next")),
            ),
            refused=Refusal(
                str(refused.get("revision") or ""),
                _int(refused.get("observedGeneration")),
                str(refused.get("reason") or ""),
            ),
            completed=str(completed.get("revision") or ""),
            completed_at=parsed(completed.get("at")),
            phase=str(status.get("phase") or ""),
            trouble=_trouble(status),
        )

    def to_status(self, name: str) -> dict[str, Any]:
        """The part of the status that is remembered; ``name`` is the job's."""
        r = self.restart
        restart = {
            "token": r.token, "cause": r.cause, "requestedAt": _iso(r.requested), "startedAt": _iso(r.started),
            "finishedAt": _iso(r.finished), "pauseSeconds": r.pause, "next": _iso(r.next),
        }  # fmt: skip
        found: dict[str, Any] = {
            "revision": self.revision, "image": self.image, "checkpoint": self.checkpoint, "restart": _some(restart),
        }  # fmt: skip
        if self.serial:
            found["certificates"] = _some(
                {"secret": f"{name}-tls-{self.serial}", "notAfter": _iso(self.valid_to)}
            )
        if self.refused.reason:
            found["refused"] = {
                "revision": self.refused.revision,
                "observedGeneration": self.refused.generation,
                "reason": self.refused.reason,
            }
        if self.completed:
            found["completed"] = _some({"revision": self.completed, "at": _iso(self.completed_at)})
        return _some(found)


def _trouble(status: Mapping[str, Any]) -> str:
    conditions = status.get("conditions")
    for found in conditions if isinstance(conditions, list) else []:
        if isinstance(found, Mapping) and (found.get("type"), found.get("status")) == ("Degraded", "True"):
            return str(found.get("reason") or "")
    return ""


def _dict(status: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    value = status.get(key)
    return value if isinstance(value, Mapping) else {}


def _int(value: object) -> int:
    return value if isinstance(value, int) else 0


def _float(value: object) -> float | None:
    return value if isinstance(value, int | float) else None


def _iso(moment: datetime | None) -> str | None:
    return iso(moment) if moment is not None else None


def _some(given: dict[str, Any]) -> dict[str, Any]:
    return {k: v for k, v in given.items() if v not in (None, "", {})}
