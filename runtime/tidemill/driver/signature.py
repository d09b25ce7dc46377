"""What a checkpoint remembers of a query's plan, and what may change between two runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

from tidemill.errors import IncompatiblePlanError
from tidemill.plan.stages import Distinct, GroupBy, JoinBy, QueryPlan, SessionBy, Stage, Stateful, Take, Times

FORMAT = 1
"""Of the checkpoint's entries."""


def signature(
    query: str, plan: QueryPlan, sources: Sequence[str], shards: int, policy: str, hash_mark: str
) -> dict[str, Any]:
    """The ``query`` entry. Only what state or offsets depend on is in it: filters, triggers, sinks and columns after
    the last operator with state may change freely."""
    return {
        "format": FORMAT,
        "id": query,
        "sources": list(sources),
        "operators": [operator_signature(s) for s in plan.stages if isinstance(s.operator, Stateful)],
        "watermarks": len(plan.watermarks),
        "shards": shards,
        "policy": policy,
        "hash": hash_mark,
    }


def operator_signature(stage: Stage) -> dict[str, Any]:
    """What the state of an operator is made of."""
    spec, schemas = stage.operator, [f.schema for f in stage.fragments]
    assert isinstance(spec, Stateful)
    return {
        "id": spec.id,
        "kind": _KINDS[type(spec)],
        "what": list(spec.what),
        "state": _state(spec, schemas),
        "evicts": [times.expiry is not None for times in _times(spec)],
    }


_KINDS = {
    GroupBy: "aggregation", SessionBy: "session-window aggregation", Distinct: "deduplication", JoinBy: "join",
    Take: "limit",
}  # fmt: skip


def _times(spec: Stateful) -> Sequence[Times]:
    match spec:
        case GroupBy() | SessionBy() | Distinct():
            return (spec.times,)
        case JoinBy():
            return (spec.left.times, spec.right.times)
    return ()


def _state(spec: Stateful, schemas: Sequence[pa.Schema]) -> list[str]:
    """The state's columns as text, by position."""
    match spec:
        case GroupBy() | SessionBy():
            return [f"{n}: {schemas[0].field(n).type}" for n in (*spec.keys, *spec.partials)]
        case Distinct():
            return [str(schemas[0].field(k).type) for k in spec.keys]
        case JoinBy():
            sides = zip((spec.left, spec.right), schemas, strict=True)
            return [f"{c}: {schema.field(c).type}" for side, schema in sides for c in side.columns]
    return []


def compare(kept: Mapping[str, Any], now: Mapping[str, Any], name: str | None = None) -> None:
    """Raise `IncompatiblePlanError`, naming the first difference, if a query, called ``name``, cannot continue from a
    checkpoint."""
    query = f"query {name}" if name else "the query"
    if kept["operators"] and kept["hash"] != now["hash"]:
        raise IncompatiblePlanError(
            f"{query} cannot continue from this checkpoint: its state is found by DuckDB's hash function, and the "
            "DuckDB that is installed has another one. Install the version that wrote the checkpoint, or give the "
            "query a new checkpoint location to start from nothing"
        )
    if difference := _difference(kept, now):
        raise IncompatiblePlanError(
            f"{query} cannot continue from this checkpoint: {difference}. Undo the change, or give the query a new "
            "checkpoint location to start from nothing"
        )


def _difference(kept: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """The first one; empty if there is none."""
    if kept["format"] != FORMAT:
        return f"it has format {kept['format']}, and this version of Tidemill reads format {FORMAT}"
    before, after = kept["operators"], now["operators"]
    if sources := _difference_of_sources(kept["sources"], now["sources"]):
        return sources
    if [o["kind"] for o in before] != [o["kind"] for o in after]:
        return f"its operators with state are {_kinds(before)}, and the query now has {_kinds(after)}"
    found = (_difference_of_operators(old, new) for old, new in zip(before, after, strict=True))
    return next(filter(None, found), "")


def _difference_of_operators(old: Mapping[str, Any], new: Mapping[str, Any]) -> str:
    its = f"its {old['kind']} ({old['id']})"
    if old["what"] != new["what"]:
        return f"{its} is {_list(old['what'])}, now {_list(new['what'])}"
    if old["state"] != new["state"]:
        return f"the state of {its} is ({_list(old['state'])}), now ({_list(new['state'])})"
    if old["evicts"] != new["evicts"]:
        # Each row in state knows from its birth when it is to go, and what has gone does not come back.
        return f"{its} {_keeping(old['evicts'])}, and now {_keeping(new['evicts'])}"
    return ""


def _keeping(evicts: Sequence[bool]) -> str:
    if all(evicts):
        return "drops state that the watermark has passed"
    if any(evicts):
        return (
            f"drops state that the watermark has passed on its {'left' if evicts[0] else 'right'} side alone"
        )
    return "keeps its state for ever (output mode complete, or no watermark on what it is by)"


def _difference_of_sources(before: Sequence[str], after: Sequence[str]) -> str:
    if len(before) != len(after):
        return f"it has {len(before)} sources ({_list(before)}), and the query now has {len(after)} ({_list(after)})"
    pairs = enumerate(zip(before, after, strict=True))
    return next((f"its source {i} is {old}, and now {new}" for i, (old, new) in pairs if old != new), "")


def _kinds(operators: Sequence[Mapping[str, Any]]) -> str:
    return _list([o["kind"] for o in operators]) or "none"


def _list(items: Sequence[str]) -> str:
    return ", ".join(items)
