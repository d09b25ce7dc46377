"""Clauses of SQL statements taken apart: what is understood, what is refused and where it stands."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations, product

from sqlglot import exp

from tidemill.errors import AnalysisException
from tidemill.plan.expressions import has_aggregate
from tidemill.plan.grouping_sets import Grouping
from tidemill.plan.nodes import Node

_CLAUSES = {
    "qualify": ("QUALIFY", "compute the window function in a subquery and filter it in WHERE"),
    "sample": ("TABLESAMPLE", "filter with rand() instead"),
    "pivots": ("PIVOT", "use aggregates with FILTER (WHERE ...), or groupBy().pivot()"),
    "sort": ("SORT BY", "use ORDER BY"),
    "cluster": ("CLUSTER BY", "leave it out: rows are distributed by the plan"),
    "distribute": ("DISTRIBUTE BY", "leave it out: rows are distributed by the plan"),
    "locks": ("FOR UPDATE", "leave it out"),
    "version": ("VERSION AS OF", "sources have no versions; read the table as it is"),
    "when": ("TIMESTAMP AS OF", "sources have no versions; read the table as it is"),
    "recursive": ("WITH RECURSIVE", "write the steps out as joins"),
    "fetch": ("FETCH FIRST", "use LIMIT"),
    "totals": ("WITH TOTALS", "use GROUP BY ROLLUP"),
    "into": ("SELECT INTO", "use writeStream or write to store a result"),
    "operation_modifiers": ("SELECT modifiers", "leave them out"),
    "match": ("MATCH_RECOGNIZE", "use window functions"),
    "connect": ("CONNECT BY", "write the steps out as joins"),
    "match_condition": ("MATCH_CONDITION", "put the condition into ON"),
    "on": ("DISTINCT ON", "use dropDuplicates, or GROUP BY with first()"),
}


def only(e: exp.Expression, *known: str) -> None:
    """Refuses the node if it has a clause that is not among ``known``."""
    for key, value in e.args.items():
        if not value or key in known:
            continue
        name, remedy = _CLAUSES.get(key, (key.strip("_").upper().replace("_", " "), "leave it out"))
        at = value[0] if isinstance(value, list) else value
        raise refused(at if isinstance(at, exp.Expression) else e, name, remedy)


def refused(e: exp.Expression, what: str, remedy: str) -> AnalysisException:
    """The error for SQL that parses but is not supported."""
    return AnalysisException(f"{what} is not supported{_place(e)}; {remedy}", "UNSUPPORTED_FEATURE")


def _place(e: exp.Expression) -> str:
    for node in (*e.walk(), *_ancestors(e)):
        if "line" in node.meta:
            return f" (line {node.meta['line']}, position {node.meta['col']})"
    return ""


def _ancestors(e: exp.Expression) -> list[exp.Expression]:
    found: list[exp.Expression] = []
    while isinstance(e.parent, exp.Expression):
        e = e.parent
        found.append(e)
    return found


def count_of(e: exp.Expression | None, clause: str = "") -> int | None:
    """The whole number of LIMIT, OFFSET or a range() argument; None without one or for ALL."""
    if e is None:
        return None
    name = clause or type(e).__name__.upper()
    value = e.expression if isinstance(e, (exp.Limit, exp.Offset)) else e
    if isinstance(value, exp.Var) and value.name.upper() == "ALL":
        return None
    sign = 1
    while isinstance(value, (exp.Neg, exp.Paren)):
        sign = -sign if isinstance(value, exp.Neg) else sign
        value = value.this
    if isinstance(value, exp.Cast):
        value = value.this
    if isinstance(value, exp.Literal) and str(value.this).isdigit():
        return sign * int(value.this)
    raise AnalysisException(
        f"the limit like expression {value.sql()!r} is invalid: {name} takes a whole number",
        "INVALID_LIMIT_LIKE_EXPRESSION.IS_UNFOLDABLE",
    )


def interval_text(e: exp.Expression) -> str:
    """The text of an INTERVAL as `parse_duration` reads it.

    >>> from tidemill.plan.dialect import parse_expression
    >>> interval_text(parse_expression("INTERVAL 1 MINUTE 30 SECONDS"))
    '1 MINUTE 30 SECONDS'
    """
    if isinstance(e, exp.Add):
        return f"{interval_text(e.this)} {interval_text(e.expression)}"
    unit = e.args.get("unit")
    value = e.this.this.name if isinstance(e.this, exp.Neg) else e.this.name
    sign = "-" if isinstance(e.this, exp.Neg) else ""
    return f"{sign}{value} {unit.name if unit is not None else ''}".strip()


def join_kind(e: exp.Expression) -> str:
    """The join as `analyze.join` names it."""
    side, kind, method = ((e.args.get(k) or "").upper() for k in ("side", "kind", "method"))
    if method not in ("", "NATURAL"):
        raise refused(e, f"{method} JOIN", "use an ordinary join with a condition")
    if kind in ("SEMI", "ANTI"):
        return kind.lower()
    if kind == "CROSS":
        return "cross"
    if kind not in ("", "OUTER", "INNER"):
        raise refused(e, f"{kind} JOIN", "use an ordinary join with a condition")
    return side.lower() or "inner"


def bound_windows(e: exp.Select) -> None:
    """Puts the WINDOW clause's definitions where ``OVER name`` uses them."""
    clause = e.args.get("windows") or []
    known = {w.name.lower(): w for w in clause}
    for used in list(e.find_all(exp.Window)):
        name = used.args.get("alias")
        if name is None or any(used is w for w in clause):
            continue
        found = known.get(name.name.lower())
        if found is None:
            raise AnalysisException(
                f"window specification {name.name} is not defined in the WINDOW clause; known are "
                f"[{', '.join(known) or 'none'}]",
                "MISSING_WINDOW_SPECIFICATION",
            )
        for key in ("partition_by", "order", "spec"):
            value = found.args.get(key)
            if value and not used.args.get(key):
                used.set(key, [v.copy() for v in value] if isinstance(value, list) else value.copy())
        used.set("alias", None)
    e.set("windows", None)


def ordered_all(items: Sequence[exp.Expression], node: Node) -> list[exp.Expression]:
    """ORDER BY's items, those of ORDER BY ALL written out."""
    if len(items) == 1 and isinstance(items[0].this, exp.Var):
        made = []
        for a in node.output:
            item = items[0].copy()
            item.set("this", a.ref())
            made.append(item)
        return made
    return list(items)


# --- GROUP BY -------------------------------------------------------------------------------------------------------


def whole_group(group: exp.Expression, items: Sequence[exp.Expression]) -> list[exp.Expression]:
    """The keys of GROUP BY ALL: every item without an aggregate."""
    only(group, "all")
    bare = [i.this if isinstance(i, exp.Alias) else i for i in items]
    return [i for i in bare if not has_aggregate(i)]


def group_keys(group: exp.Expression | None) -> tuple[list[exp.Expression], Grouping | None]:
    """Keys and grouping sets of a GROUP BY clause."""
    if group is None:
        return [], None
    only(group, "expressions", "cube", "rollup", "grouping_sets")
    for word in ("cube", "rollup"):
        if group.args.get(word):
            return list(group.expressions), word
    keys: list[exp.Expression] = []
    trailing = group.args.get("grouping_sets")
    if trailing:
        keys = list(group.expressions)
        return keys, [tuple(_place_of(k, keys) for k in s) for g in trailing for s in _members(g)]
    parts = [_sets(e, keys) for e in group.expressions]
    if all(isinstance(e, exp.Expression) and not _is_sets(e) for e in group.expressions):
        return list(group.expressions), None
    return keys, [tuple(dict.fromkeys(k for s in chosen for k in s)) for chosen in product(*parts)]


def _is_sets(e: exp.Expression) -> bool:
    return isinstance(e, (exp.Rollup, exp.Cube, exp.GroupingSets))


def _sets(e: exp.Expression, keys: list[exp.Expression]) -> list[tuple[int, ...]]:
    """The grouping sets that one element of GROUP BY stands for, as positions in ``keys``, which grows."""
    if isinstance(e, exp.GroupingSets):
        return [s for member in e.expressions for s in _set_of(member, keys)]
    if not _is_sets(e):
        return [(_place_of(e, keys),)]
    parts = [tuple(_place_of(k, keys) for k in _unpacked(m)) for m in e.expressions]
    if isinstance(e, exp.Rollup):
        chosen = [parts[:n] for n in range(len(parts), -1, -1)]
    else:
        chosen = [list(c) for n in range(len(parts), -1, -1) for c in combinations(parts, n)]
    return [tuple(k for part in c for k in part) for c in chosen]


def _set_of(member: exp.Expression, keys: list[exp.Expression]) -> list[tuple[int, ...]]:
    if _is_sets(member):
        return _sets(member, keys)
    return [tuple(_place_of(k, keys) for k in _unpacked(member))]


def _members(e: exp.Expression) -> list[list[exp.Expression]]:
    return [_unpacked(m) for m in e.expressions]


def _unpacked(e: exp.Expression) -> list[exp.Expression]:
    if isinstance(e, exp.Tuple):
        return list(e.expressions)
    return [e.this if isinstance(e, exp.Paren) else e]


def _place_of(key: exp.Expression, keys: list[exp.Expression]) -> int:
    for i, known in enumerate(keys):
        if known == key:
            return i
    keys.append(key)
    return len(keys) - 1
