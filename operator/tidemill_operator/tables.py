"""What `tidemill status` prints: the columns of `kubectl get`, and below them what a job's status has besides. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from tidemill_operator.cluster import Item
from tidemill_operator.moments import parsed
from tidemill_operator.names import name_of

_UNITS = (("d", 86_400), ("h", 3_600), ("m", 60), ("s", 1))
_QUERY = {
    "QUERY": "name", "PHASE": "phase", "BATCH": "batchId", "COMMITTED": "committedAt", "WATERMARK": "watermark",
    "LAG": "lagRows", "ROWS/S IN": "inputRowsPerSecond", "ROWS/S DONE": "processedRowsPerSecond", "STATE": "stateRows",
}  # fmt: skip
_AGES = ("committedAt",)


def jobs(items: Sequence[Item], now: datetime, everywhere: bool = False) -> str:
    """One line each."""
    titles = ["NAME", "PHASE", "READY", "LAG", "LAST BATCH", "AGE", "MESSAGE"]
    rows = [_job(item, now) for item in items]
    if everywhere:
        rows = [[item["metadata"]["namespace"], *row] for item, row in zip(items, rows, strict=True)]
    return table([["NAMESPACE", *titles] if everywhere else titles, *rows])


def job(item: Item, now: datetime) -> str:
    """All that one wants to know of one job."""
    told = item.get("status") or {}
    parts = [jobs([item], now)]
    if queries := told.get("queries"):
        parts.append(table([list(_QUERY), *(_query(query, now) for query in queries)]))
        parts += [f"{q['name']}: {_line(q['lastError'])}" for q in queries if q.get("lastError")]
    parts.append("\n".join(_rest(item, told, now)))
    return "\n\n".join(part for part in parts if part)


def _job(item: Item, now: datetime) -> list[str]:
    told, meta = item.get("status") or {}, item["metadata"]
    wanted = (item["spec"].get("executor") or {}).get("replicas", 1)
    message = told.get("message", "") if told else "no operator has looked at it yet"
    ready = f"{told.get('readyReplicas', 0)}/{wanted}"
    lag = str(told.get("lagRows", ""))
    ages = age(told.get("lastCommit"), now), age(meta.get("creationTimestamp"), now)
    return [name_of(item), told.get("phase", ""), ready, lag, *ages, _line(message)]


def _query(query: Item, now: datetime) -> list[str]:
    return [age(query.get(key), now) if key in _AGES else _figure(query.get(key)) for key in _QUERY.values()]


def _rest(item: Item, told: Item, now: datetime) -> list[str]:
    """What has no column."""
    restart, found = told.get("restart") or {}, []
    conditions = [c for c in told.get("conditions", []) if c.get("lastTransitionTime")]
    if conditions:
        last = max(conditions, key=lambda c: str(c["lastTransitionTime"]))
        what = f"{last['type']} became {last['status']} ({last.get('reason', '')})"
        found.append(f"last transition: {what} {age(last['lastTransitionTime'], now)} ago")
    if told.get("observedGeneration", 0) < item["metadata"].get("generation", 0) and told:
        found.append("this is how it was before the last edit, which no operator has looked at yet")
    if told.get("revision"):
        found.append(
            f"revision {told['revision']}, generation {told.get('generation', '-')}, image {told.get('image', '-')}"
        )
    if restart.get("finishedAt"):
        pause = f"paused for {restart.get('pauseSeconds', 0):g} s"
        found.append(
            f"last restart: {restart.get('cause', '')} {age(restart['finishedAt'], now)} ago, {pause}"
        )
    if restart.get("next"):
        found.append(f"next restart: {restart['next']}")
    if told.get("queries") and told.get("figuresAt"):
        found.append(f"figures of {age(told['figuresAt'], now)} ago")
    return found


def age(moment: object, now: datetime) -> str:
    """As `kubectl get` has it, in one unit or two; empty for no time.

    >>> from datetime import UTC
    >>> age("2026-03-01T11:57:30Z", datetime(2026, 3, 1, 12, tzinfo=UTC))
    '2m30s'
    """
    since = parsed(moment) if moment else None
    if since is None:
        return ""
    rest, found = max(int((now - since).total_seconds()), 0), []
    for unit, seconds in _UNITS:
        count, rest = divmod(rest, seconds)
        if count:
            found.append(f"{count}{unit}")
        if found and (count >= 10 or len(found) == 2):
            break
    return "".join(found) or "0s"


def _figure(value: object) -> str:
    return "" if value is None else f"{value:.1f}" if isinstance(value, float) else str(value)


def _line(text: object) -> str:
    return " ".join(str(text).split())


def table(rows: Sequence[Sequence[str]]) -> str:
    """Columns as wide as they have to be, three spaces apart.

    >>> print(table([["NAME", "PHASE"], ["web-logs", "Running"]]))
    NAME       PHASE
    web-logs   Running
    """
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "   ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    )
