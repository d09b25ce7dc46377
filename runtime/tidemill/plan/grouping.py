"""Stages of streaming aggregation: partial aggregates per batch, merged into state, finished on the way out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import pyarrow as pa

from tidemill.plan.expressions import AggregateSpec, compile_aggregate
from tidemill.plan.nodes import Aggregate, Filter, Named, Node, Ref, TimeWindows
from tidemill.plan.physical import (
    Relation,
    arrow_fields,
    column,
    columns_of,
    in_words,
    session_rows_sql,
    window_struct,
)
from tidemill.plan.stages import Fragment, GroupBy, Input, SessionBy, Times
from tidemill.types import StructType, to_arrow

if TYPE_CHECKING:
    from tidemill.plan.incremental import Splitter


def group_stage(splitter: Splitter, node: Aggregate) -> tuple[Fragment, GroupBy]:
    """The partial query and the operator of an aggregation without sessions."""
    relation = splitter.relation()
    child = relation.sql(node.child)
    specs = _specs(splitter, relation, node)
    windows = {k.attribute.id: _window_of(node.child, k) for k in node.keys}
    keys = [
        (
            f"{column(w.made)}_s"
            if (w := windows[k.attribute.id])
            else relation.expression(k.expression, columns_of(node.child))
        )
        for k in node.keys
    ]
    inits = [p.init for s in specs for p in s.partial]
    names = [f"k{i}" for i in range(len(keys))]
    partials = [f"p{i}" for i in range(len(inits))]
    expiry = _expiry(node, windows) if splitter.mode != "complete" else "NULL"
    inner = _grouped(keys, names, inits, partials, child)
    sql = f"SELECT *, {_hash(names)} AS _hash, ({expiry})::BIGINT AS _expiry FROM ({inner})"
    fields = [
        *(
            (n, pa.int64() if windows[k.attribute.id] else to_arrow(k.attribute.type))
            for n, k in zip(names, node.keys, strict=True)
        ),
        *_partial_fields(specs),
        ("_rows", pa.int64()),
        ("_hash", pa.uint64()),
        ("_expiry", pa.int64()),
    ]
    timed = expiry != "NULL"
    operator = GroupBy(
        id=splitter.next_id(),
        what=_what(node),
        mode=splitter.mode,
        keys=tuple(names),
        partials=tuple(partials),
        merges=tuple(_merges(specs)),
        finish=_finish(node, specs, [
            window_struct(n, w.length) if (w := windows[k.attribute.id]) else n
            for n, k in zip(names, node.keys, strict=True)
        ]),
        times=Times("_expiry" if timed else None, "_expiry" if timed else None),
    )  # fmt: skip
    return splitter.finished(relation, sql, fields, node.child), operator


def session_stage(splitter: Splitter, node: Aggregate) -> tuple[Fragment, SessionBy]:
    """The partial query and the operator of an aggregation by session window."""
    assert node.session is not None
    relation = splitter.relation()
    session = node.session
    specs = _specs(splitter, relation, node)
    others = [k for k in node.keys if k.attribute.id != session.attribute.id]
    child = session_rows_sql(relation, node, session, relation.sql(node.child))
    keys = [relation.expression(k.expression, columns_of(node.child)) for k in others]
    names = [f"k{i}" for i in range(len(keys))]
    inits = [p.init for s in specs for p in s.partial]
    partials = [f"p{i}" for i in range(len(inits))]
    inner = _grouped([*keys, "s_start", "s_end"], [*names, "s_start", "s_end"], inits, partials, child)
    sql = f"SELECT *, {_hash(names)} AS _hash, epoch_us(s_end)::BIGINT AS _expiry FROM ({inner})"
    fields = [
        *((n, to_arrow(k.attribute.type)) for n, k in zip(names, others, strict=True)),
        ("s_start", pa.timestamp("us")),
        ("s_end", pa.timestamp("us")),
        *_partial_fields(specs),
        ("_rows", pa.int64()),
        ("_hash", pa.uint64()),
        ("_expiry", pa.int64()),
    ]
    # Late rows find no session any more even in complete mode, which keeps those there are; Spark drops them too.
    timed = session.attribute.delay is not None
    shown = iter(names)
    outputs = [
        "{'start': s_start, 'end': s_end}" if k.attribute.id == session.attribute.id else next(shown)
        for k in node.keys
    ]
    operator = SessionBy(
        id=splitter.next_id(),
        what=_what(node),
        mode=splitter.mode,
        keys=tuple(names),
        partials=tuple(partials),
        merges=tuple(_merges(specs)),
        finish=_finish(node, specs, outputs),
        times=Times(
            "_expiry" if timed else None, "_expiry" if timed and splitter.mode != "complete" else None
        ),
    )
    return splitter.finished(relation, sql, fields, node.child), operator


def _specs(splitter: Splitter, relation: Relation, node: Aggregate) -> list[AggregateSpec]:
    columns = columns_of(node.child)
    for item in node.aggregates:
        relation.note(item.expression)
    return [compile_aggregate(i.expression, columns, splitter.settings) for i in node.aggregates]


def _what(node: Aggregate) -> tuple[str, ...]:
    keys = [f"{k.attribute.name}: {k.attribute.type.simpleString()}{_shape(node, k)}" for k in node.keys]
    return ("by", *keys, "of", *(in_words(i.expression) for i in node.aggregates))


def _shape(node: Aggregate, key: Named) -> str:
    """How a key is made, where that is known: state has only what came of it, which says something else once that
    changes. Of a window it has the start alone."""
    if node.session is not None and key.attribute.id == node.session.attribute.id:
        return f" of sessions {in_words(node.session.gap)} apart"
    window = _window_of(node.child, key)
    if window is None:
        return "" if isinstance(key.expression, Ref) else f" = {in_words(key.expression)}"
    return f" of {window.length} us every {window.slide} us from {window.offset} us"


def _window_of(child: Node, key: Named) -> TimeWindows | None:
    """The node that makes ``key``, if it is a window made just below: its start alone can then stand for it."""
    while isinstance(child, Filter):
        child = child.child
    if isinstance(child, TimeWindows) and isinstance(key.expression, Ref):
        return child if key.expression.attribute_id == child.made.id else None
    return None


def _expiry(node: Aggregate, windows: dict[int, TimeWindows | None]) -> str:
    """Microseconds at which a group is final, over the key columns; NULL where no key is event time."""
    for i, key in enumerate(node.keys):
        if key.attribute.delay is None:
            continue
        window = windows[key.attribute.id]
        if window is not None:
            return f"k{i} + {window.length}"
        return f'epoch_us(k{i}."end")' if isinstance(key.attribute.type, StructType) else f"epoch_us(k{i})"
    return "NULL"


def _grouped(
    keys: Sequence[str], names: Sequence[str], inits: Sequence[str], partials: Sequence[str], child: str
) -> str:
    items = [f"{e} AS {n}" for e, n in zip([*keys, *inits], [*names, *partials], strict=True)]
    grouped = f" GROUP BY {', '.join(str(i + 1) for i in range(len(keys)))}" if keys else ""
    return f"SELECT {', '.join([*items, 'count(*) AS _rows'])} FROM ({child}){grouped}"


def _hash(names: Sequence[str]) -> str:
    return f"hash({', '.join(names)})" if names else "0::UBIGINT"


def _partial_fields(specs: Sequence[AggregateSpec]) -> list[tuple[str, object]]:
    types = [p.type for s in specs for p in s.partial]
    return [(f"p{i}", to_arrow(t)) for i, t in enumerate(types)]


def _merges(specs: Sequence[AggregateSpec]) -> list[str]:
    """For each partial column the aggregate that merges it, over the columns' names."""
    merges: list[str] = []
    for spec in specs:
        names = [f"p{len(merges) + i}" for i in range(len(spec.partial))]
        merges += [partial.merge.format(*names) for partial in spec.partial]
    return merges


def _finish(node: Aggregate, specs: Sequence[AggregateSpec], keys: Sequence[str]) -> Fragment:
    """From state rows to the aggregate's output."""
    items = [f"{sql} AS {column(k.attribute)}" for sql, k in zip(keys, node.keys, strict=True)]
    at = 0
    for spec, item in zip(specs, node.aggregates, strict=True):
        names = [f"p{at + i}" for i in range(len(spec.partial))]
        at += len(spec.partial)
        items.append(f"{spec.finish.format(*names)} AS {column(item.attribute)}")
    schema = pa.schema(arrow_fields(node.output))
    return Fragment(f"SELECT {', '.join(items)} FROM state", (Input("state", "stage", -1, ()),), schema)
