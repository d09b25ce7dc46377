"""From resolved nodes to one DuckDB query.

Every attribute is a column ``c<id>`` of the query; the leaves are relations that the caller registers under the names
given in ``leaves``. Names that users see come back only at the end, where rows leave the engine.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from sqlglot import exp

from tidemill.kernel.udf import in_zone
from tidemill.plan.expressions import (
    Settings,
    Typed,
    UdfCall,
    UserFunction,
    compile_aggregate,
    compile_expression,
    user_functions,
)
from tidemill.plan.generators import compile_generator
from tidemill.plan.islands import islands_sql
from tidemill.plan.nodes import (
    Aggregate,
    Alias,
    Attribute,
    Deduplicate,
    EventTime,
    Filter,
    Generate,
    Join,
    Limit,
    Metrics,
    Named,
    Node,
    Order,
    Project,
    Range,
    Ref,
    Session,
    Sort,
    TimeWindows,
    Union,
)
from tidemill.plan.rendering import Bound
from tidemill.types import to_arrow

_JOINS = {
    "inner": "JOIN", "left": "LEFT JOIN", "right": "RIGHT JOIN", "full": "FULL JOIN", "semi": "SEMI JOIN",
    "anti": "ANTI JOIN", "cross": "CROSS JOIN",
}  # fmt: skip


def column(attribute: Attribute) -> str:
    """The attribute's physical column name."""
    return f"c{attribute.id}"


def columns_of(node: Node, prefix: str = "") -> dict[int, Typed]:
    """How expressions over ``node``'s output find its columns."""
    return {a.id: Typed(f"{prefix}{column(a)}", a.type, a.nullable) for a in node.output}


@dataclass
class Relation:
    """Builds one query; ``functions`` collects the user functions that it calls."""

    settings: Settings
    leaves: Mapping[int, str]
    """By ``id()`` of the leaf node: the relation that holds its rows."""
    functions: dict[str, UserFunction] = field(default_factory=dict)

    def note(self, e: exp.Expression) -> None:
        """Remember the user functions that ``e`` calls."""
        for found in user_functions(e):
            function = in_zone(found, self.settings.time_zone)
            self.functions[function.id] = function

    def expression(self, e: exp.Expression, columns: Mapping[int, Typed]) -> str:
        self.note(e)
        return compile_expression(e, columns, self.settings).sql

    def sql(self, node: Node) -> str:
        """A SELECT whose columns are ``node.output``, or a relation's name for a leaf."""
        if id(node) in self.leaves:
            return f"SELECT * FROM {self.leaves[id(node)]}"
        match node:
            case Project():
                return self._project(node)
            case Filter():
                condition = self.expression(node.condition, columns_of(node.child))
                return f"SELECT * FROM ({self.sql(node.child)}) WHERE {condition}"
            case Alias() | EventTime() | Metrics():
                return self.sql(node.child)
            case TimeWindows():
                return self._windows(node)
            case Generate():
                return self._generate(node)
            case Aggregate():
                return self._aggregate(node)
            case Deduplicate():
                keys = ", ".join(f"c{k}" for k in node.keys)
                return f"SELECT DISTINCT ON ({keys}) * FROM ({self.sql(node.child)})"
            case Join():
                return self._join(node)
            case Union():
                return self._union(node)
            case Sort():
                orders = ", ".join(self.order(o, columns_of(node.child)) for o in node.orders)
                return f"SELECT * FROM ({self.sql(node.child)}) ORDER BY {orders}"
            case Limit():
                offset = f" OFFSET {node.offset}" if node.offset else ""
                limit = f" LIMIT {node.count}" if node.count >= 0 else ""
                return f"SELECT * FROM ({self.sql(node.child)}){limit}{offset}"
            case Range(attribute, start, end, step):
                return f"SELECT range AS {column(attribute)} FROM range({start}, {end}, {step})"
        raise NotImplementedError(f"no SQL for {type(node).__name__}")

    def items(self, items: Sequence[Named], columns: Mapping[int, Typed]) -> str:
        return ", ".join(f"{self.expression(i.expression, columns)} AS {column(i.attribute)}" for i in items)

    def order(self, order: Order, columns: Mapping[int, Typed]) -> str:
        direction = "DESC" if order.descending else "ASC"
        nulls = "FIRST" if order.nulls_first else "LAST"
        return f"{self.expression(order.expression, columns)} {direction} NULLS {nulls}"

    def _project(self, node: Project) -> str:
        columns = columns_of(node.child)
        child = self.sql(node.child)
        items, made = [], set()
        for item in node.items:
            sql = self.expression(item.expression, columns)
            if isinstance(sql, Bound):
                for name, part in sql.parts:
                    if name not in made:
                        child = f"SELECT *, {part} AS {name} FROM ({child})"
                        made.add(name)
                sql = sql.body
            items.append(f"{sql} AS {column(item.attribute)}")
        return f"SELECT {', '.join(items) or '1 AS none'} FROM ({child})"

    def _windows(self, node: TimeWindows) -> str:
        """Also gives ``c<id>_s``, the window's start in microseconds: a cheaper key than the struct."""
        return windows_sql(node, self.sql(node.child), self.expression(node.time, columns_of(node.child)))

    def _generate(self, node: Generate) -> str:
        self.note(node.expression)
        made = [column(a) for a in node.made]
        return compile_generator(node, self.sql(node.child), columns_of(node.child), made, self.settings)

    def _aggregate(self, node: Aggregate) -> str:
        columns = columns_of(node.child)
        child = self.sql(node.child)
        if node.session is not None:
            child, columns = sessions_sql(self, node, node.session, child)
        keys = self.items([_read_key(k, node.session) for k in node.keys], columns)
        for item in node.aggregates:
            self.note(item.expression)
        calls = [
            f"{compile_aggregate(i.expression, columns, self.settings).batch} AS {column(i.attribute)}"
            for i in node.aggregates
        ]
        if not node.keys:
            return f"SELECT {', '.join(calls)} FROM ({child})"
        grouped = f"GROUP BY {', '.join(str(k + 1) for k in range(len(node.keys)))}"
        return f"SELECT {', '.join([keys, *calls])} FROM ({child}) {grouped}"

    def _join(self, node: Join) -> str:
        left, right = self.sql(node.left), self.sql(node.right)
        if node.condition is None:
            how = "CROSS JOIN" if node.how in ("inner", "cross") else f"{_JOINS[node.how]}"
            on = "" if how == "CROSS JOIN" else " ON true"
        else:
            both = columns_of(node.left, "l.") | columns_of(node.right, "r.")
            how = "JOIN" if node.how == "cross" else _JOINS[node.how]
            on = f" ON {self.expression(node.condition, both)}"
        taken = "l.*" if node.how in ("semi", "anti") else "l.*, r.*"
        return f"SELECT {taken} FROM ({left}) l {how} ({right}) r{on}"

    def _union(self, node: Union) -> str:
        names = [column(a) for a in node.attributes]
        parts = []
        for child in node.inputs:
            taken = ", ".join(f"{column(a)} AS {n}" for a, n in zip(child.output, names, strict=True))
            parts.append(f"SELECT {taken} FROM ({self.sql(child)})")
        return " UNION ALL ".join(parts)


def _read_key(key: Named, session: Session | None) -> Named:
    """The session key's own expression is a placeholder: `sessions_sql` makes its column."""
    made = session is not None and session.attribute.id == key.attribute.id
    return Named(key.attribute, key.attribute.ref()) if made else key


def windows_sql(node: TimeWindows, child: str, time: str) -> str:
    """Rows of ``child`` with the window struct and its start; the formula is that of Spark's ``TimeWindow``:
    the last start at or before t is t - (t - offset) mod slide, with a modulus that is never negative."""
    name, slide, length = column(node.made), node.slide, node.length
    at = f"epoch_us({time})"
    shifted = f"({at} - {node.offset})" if node.offset else at
    # DuckDB's % keeps the dividend's sign, as Java's does; times before 1970 need the second turn.
    last = f"({at} - (({shifted} % {slide}) + {slide}) % {slide})"
    if length == slide:
        inner = f"SELECT *, {last} AS {name}_s FROM ({child}) WHERE {time} IS NOT NULL"
    else:
        count = -(-length // slide)
        inner = (
            f"SELECT * FROM (SELECT w.*, w.{name}_t - n.range * {slide} AS {name}_s FROM "
            f"(SELECT *, {last} AS {name}_t, {at} AS {name}_at FROM ({child}) WHERE {time} IS NOT NULL) w, "
            f"range({count}) n) WHERE {name}_at < {name}_s + {length} AND {name}_at >= {name}_s"
        )
    return f"SELECT *, {window_struct(f'{name}_s', length)} AS {name} FROM ({inner})"


def window_struct(start: str, length: int) -> str:
    """The struct<start,end> of a window from its start in microseconds."""
    return f"{{'start': make_timestamp({start}), 'end': make_timestamp({start} + {length})}}"


def session_rows_sql(relation: Relation, node: Aggregate, session: Session, child: str) -> str:
    """Rows of ``child`` with ``s_start`` and ``s_end`` (timestamps) of the session that each alone would make.

    Rows without a time, or whose gap is not positive, make none.
    """
    columns = columns_of(node.child)
    time = relation.expression(session.time, columns)
    gap = relation.expression(session.gap, columns)
    return (
        f"SELECT * FROM (SELECT *, {time} AS s_start, {time} + ({gap}) AS s_end FROM ({child})) "
        f"WHERE s_start IS NOT NULL AND s_end > s_start"
    )


def sessions_sql(
    relation: Relation, node: Aggregate, session: Session, child: str
) -> tuple[str, dict[int, Typed]]:
    """The child with its session key as a column, so that the aggregate groups by it as by any other."""
    columns = columns_of(node.child)
    others = [k for k in node.keys if k.attribute.id != session.attribute.id]
    keyed = ", ".join(f"{relation.expression(k.expression, columns)} AS k{i}" for i, k in enumerate(others))
    rows = session_rows_sql(relation, node, session, child)
    rows = f"SELECT *{', ' + keyed if keyed else ''} FROM ({rows})"
    merged = islands_sql(rows, [f"k{i}" for i in range(len(others))])
    name = column(session.attribute)
    query = f"SELECT *, {{'start': s_first, 'end': s_last}} AS {name} FROM ({merged})"
    return query, columns | {session.attribute.id: Typed(name, session.attribute.type, False)}


def arrow_fields(attributes: Sequence[Attribute]) -> list[tuple[str, object]]:
    """Physical names and Arrow types of the columns, in order."""
    return [(column(a), to_arrow(a.type)) for a in attributes]


def in_words(e: exp.Expression) -> str:
    """An expression with the names that the user gave its columns; the same in every process."""
    return e.transform(_said).sql(dialect="spark")


def _said(e: exp.Expression) -> exp.Expression:
    if isinstance(e, UdfCall):
        return exp.Anonymous(this=str(e.this), expressions=[a.transform(_said) for a in e.expressions])
    return exp.column(e.this) if isinstance(e, Ref) else e
