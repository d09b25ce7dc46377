"""When a job is to be restarted. Pure."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

from tidemill.api.cron import Schedule
from tidemill_operator import names
from tidemill_operator.memory import Restart
from tidemill_operator.moments import iso, parsed, whole


def planned(restart: Restart, schedule: Schedule | None, asked: str, now: datetime) -> tuple[Restart, str]:
    """The restart of a job from now on: a new token if one is asked for, or due by the schedule. And what is wrong with
    ``asked``, the annotation."""
    at = parsed(asked) if asked else None
    wrong = asked and at is None
    remark = f"{names.RESTART_AT}: {asked!r} is no time; write one like 2026-01-31T03:00:00Z" if wrong else ""
    to_come = [schedule.after(now).astimezone(UTC)] if schedule is not None else []
    if at is not None and at > now:
        to_come.append(at)
    following = min(to_come, default=None)
    if at is not None and at <= now and _is_new(at, restart):
        return Restart(iso(at), "Requested", at, next=following), remark
    if schedule is not None and restart.next is not None and restart.next <= now:
        return Restart(iso(restart.next), "Scheduled", whole(now), next=following), remark
    return replace(restart, next=following), remark


def _is_new(at: datetime, restart: Restart) -> bool:
    """Whether a restart that is asked for has not been answered yet."""
    return iso(at) != restart.token and (restart.requested is None or at >= restart.requested)
