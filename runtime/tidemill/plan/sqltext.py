"""SQL text to plan nodes, through the same builders that DataFrame calls use.

Every clause of a statement is either built or refused by name, with its place and a remedy: each node's arguments are
checked against those that are understood, so that nothing is dropped in silence.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from sqlglot import exp

from tidemill.errors import AnalysisException, ParseException
from tidemill.plan import analyze
from tidemill.plan.dialect import WATERMARK, function_name, parse_query
from tidemill.plan.expressions import Settings, has_aggregate, is_generator
from tidemill.plan.nodes import Node, Project
from tidemill.plan.resolve import Scope, quoted
from tidemill.plan.select import generate
from tidemill.plan.sqlclauses import (
    bound_windows,
    count_of,
    group_keys,
    interval_text,
    join_kind,
    only,
    ordered_all,
    refused,
    whole_group,
)
from tidemill.plan.subqueries import selected, where

Lookup = Callable[[str], Node | None]
"""The plan of a table or view by its name as written (``db.name`` with the dot), or None."""


def query_to_plan(text: str, lookup: Lookup, settings: Settings) -> Node:
    """The plan of a SELECT, VALUES or set operation.

    Raises `ParseException` with the place of a syntax error, and `AnalysisException` for what is not supported or
    does not resolve.
    """
    return tree_to_plan(parse_query(text), lookup, settings)


def tree_to_plan(query: exp.Expression, lookup: Lookup, settings: Settings) -> Node:
    """The plan of a parsed query; for callers that fill in its parameters first."""
    return _Reader(lookup, settings, {}).query(query)


class _Reader:
    """Reads one query; ``ctes`` are the WITH names in scope, by lower-case name."""

    def __init__(self, lookup: Lookup, settings: Settings, ctes: Mapping[str, Node]) -> None:
        self.lookup = lookup
        self.settings = settings
        self.ctes = dict(ctes)

    def nested(self) -> _Reader:
        return _Reader(self.lookup, self.settings, self.ctes)

    def query(self, e: exp.Expression) -> Node:
        """A whole query with its WITH, ORDER BY and LIMIT."""
        reader = self.nested()
        reader._with(e.args.get("with_"))
        match e:
            case exp.Select():
                return reader._limited(reader.select(e), e)
            case exp.SetOperation():
                return reader._finished(reader.set_operation(e), e)
            case exp.Subquery():
                only(e, "this", "with_", "order", "limit", "offset", "alias")
                return reader._finished(reader.query(e.this), e)
            case exp.Values():
                only(e, "expressions", "alias", "order", "limit", "offset")
                return reader._finished(reader.values(e), e)
        raise refused(e, f"{type(e).__name__.upper()} statements", "write a SELECT, VALUES or UNION query")

    def _with(self, clause: exp.Expression | None) -> None:
        if clause is None:
            return
        only(clause, "expressions")
        for cte in clause.expressions:
            only(cte, "this", "alias")
            node = self.query(cte.this)
            self.ctes[cte.alias.lower()] = self._aliased(node, cte.args.get("alias"))

    def _finished(self, node: Node, e: exp.Expression) -> Node:
        order = e.args.get("order")
        if order is not None:
            node = analyze.sort(node, ordered_all(order.expressions, node), self.settings)
        return self._limited(node, e)

    def _limited(self, node: Node, e: exp.Expression) -> Node:
        limit, offset = e.args.get("limit"), e.args.get("offset")
        if limit is None and offset is None:
            return node
        count, skipped = count_of(limit), count_of(offset)
        if count is None and not skipped:
            return node
        return analyze.limit(node, -1 if count is None else count, skipped or 0)

    # --- SELECT -----------------------------------------------------------------------------------------------------

    def select(self, e: exp.Select) -> Node:
        # Hints are advice about how to run a query in Spark; they never change its answer.
        only(
            e, "with_", "hint", "distinct", "expressions", "from_", "joins", "laterals", "where", "group", "having",
            "windows", "order", "limit", "offset",
        )  # fmt: skip
        bound_windows(e)
        node = self.relation(e)
        clause = e.args.get("where")
        if clause is not None:
            node = where(node, clause.this, self.nested(), self.settings)
        distinct = e.args.get("distinct")
        if distinct is not None:
            only(distinct)
        order = e.args.get("order")
        if _groups(e):
            items = [] if distinct is not None or order is None else order.expressions
            if not ordered_everything(items):
                node = self._aggregate(node, e, items)
                order = order if not items else None
            else:
                node = self._aggregate(node, e, [])
        else:
            node, shown = selected(node, e.expressions, self.nested(), self.settings)
            node = analyze.project(node, shown, self.settings)
        if distinct is not None:
            node = analyze.deduplicate(node, None, self.settings)
        if order is not None:
            node = analyze.sort(node, ordered_all(order.expressions, node), self.settings)
        return node

    def _aggregate(self, node: Node, e: exp.Select, order: Sequence[exp.Expression]) -> Node:
        group = e.args.get("group")
        if group is not None and group.args.get("all"):
            keys, grouping = whole_group(group, e.expressions), None
        else:
            keys, grouping = group_keys(group)
        having = e.args.get("having")
        condition = having.this if having is not None else None
        return analyze.aggregate(node, keys, e.expressions, self.settings, grouping, condition, order)

    # --- FROM -------------------------------------------------------------------------------------------------------

    def relation(self, e: exp.Select) -> Node:
        clause = e.args.get("from_")
        if clause is None:
            return one_row()
        only(clause, "this")
        node = self._joined(self.source(clause.this), e.args.get("joins") or [])
        for lateral in e.args.get("laterals") or []:
            node = self._lateral_view(node, lateral)
        return node

    def _joined(self, node: Node, joins: Sequence[exp.Expression]) -> Node:
        for join in joins:
            node = self._join(node, join)
        return node

    def _join(self, left: Node, e: exp.Expression) -> Node:
        only(e, "this", "side", "kind", "method", "on", "using")
        how = join_kind(e)
        if isinstance(e.this, exp.Lateral):
            raise refused(e, "JOIN LATERAL", "use LATERAL VIEW explode(...), or write the subquery as a join")
        right = self.source(e.this)
        if (e.args.get("method") or "").upper() == "NATURAL":
            return analyze.natural(left, right, how, self.settings)
        using = e.args.get("using")
        if using:
            return analyze.join(left, right, [u.name for u in using], how, self.settings)
        return analyze.join(left, right, e.args.get("on"), how, self.settings)

    def source(self, e: exp.Expression) -> Node:
        """One entry of FROM, under its name."""
        match e:
            case exp.Table() if isinstance(e.this, exp.Anonymous):
                only(e, "this", "alias", "joins")
                node = self._aliased(self._table_function(e.this), e.args.get("alias"))
            case exp.Table():
                only(e, "this", "db", "catalog", "alias", "joins")
                node = self._aliased(self._table(e), e.args.get("alias"))
            case exp.Subquery() if isinstance(
                e.this, (exp.Select, exp.SetOperation, exp.Subquery, exp.Values)
            ):
                only(e, "this", "alias", "joins", "with_", "order", "limit", "offset")
                node = self._aliased(self.query(e.this), e.args.get("alias"))
                node = self._finished(node, e)
            case exp.Subquery():
                only(e, "this", "alias", "joins")
                node = self._aliased(self.source(e.this), e.args.get("alias"))
            case exp.Values():
                only(e, "expressions", "alias", "joins")
                node = self._aliased(self.values(e), e.args.get("alias"))
            case _:
                raise refused(
                    e, f"{type(e).__name__.upper()} in FROM", "name a table, a view or a subquery there"
                )
        return self._joined(node, e.args.get("joins") or [])

    def _aliased(self, node: Node, alias: exp.Expression | None) -> Node:
        if alias is None:
            return node
        only(alias, "this", "columns")
        if WATERMARK in alias.meta:
            node = self._watermarked(node, *alias.meta[WATERMARK])
        columns = [c.name for c in alias.args.get("columns") or []]
        if columns:
            node = analyze.rename_all(node, columns)
        return analyze.alias(node, alias.name) if alias.name else node

    def _watermarked(self, node: Node, column: exp.Expression, delay: exp.Expression) -> Node:
        """``WATERMARK column DELAY OF interval``; an expression becomes a column in front of the others."""
        if isinstance(column, exp.Alias):
            node = analyze.project(node, [column, exp.Star()], self.settings)
            column = exp.column(column.alias, quoted=True)
        return analyze.with_watermark(node, column, interval_text(delay), self.settings)

    def _table(self, e: exp.Table) -> Node:
        parts = [p.name for p in e.parts]
        if len(parts) == 1 and parts[0].lower() in self.ctes:
            return analyze.alias(self.ctes[parts[0].lower()], parts[0])
        node = self.lookup(".".join(parts))
        if node is None:
            raise AnalysisException(
                f"the table or view {quoted(*parts)} cannot be found; make it with createOrReplaceTempView, or name it "
                "in the manifest's sources, tables or queries",
                "TABLE_OR_VIEW_NOT_FOUND",
                {"relationName": quoted(*parts)},
            )
        return analyze.alias(node, parts[-1])

    def _table_function(self, call: exp.Anonymous) -> Node:
        name = function_name(call)
        if name == "stream" and len(call.expressions) == 1 and isinstance(call.expressions[0], exp.Column):
            return self._table(exp.Table(this=call.expressions[0].this.copy()))
        if name == "range":
            numbers = [count_of(a, "range()") for a in call.expressions[:3]]
            if not numbers or None in numbers:
                raise refused(
                    call, "range() with these arguments", "write range(end) or range(start, end[, step])"
                )
            whole = [n for n in numbers if n is not None]
            return analyze.range_(*([0, *whole] if len(whole) == 1 else whole))
        if is_generator(call):
            row = one_row()
            scope = Scope.over(row, self.settings)
            return generate(row, scope.resolve(call), (), scope)
        raise AnalysisException(
            f"could not resolve {name} to a table-valued function; known are range, explode, posexplode, inline and "
            "stack",
            "UNRESOLVABLE_TABLE_VALUED_FUNCTION",
        )

    def _lateral_view(self, node: Node, e: exp.Expression) -> Node:
        only(e, "this", "view", "outer", "alias")
        scope = Scope.over(node, self.settings)
        call = scope.resolve(e.this)
        if not is_generator(call):
            raise refused(
                e, f"LATERAL VIEW {function_name(call)}()", "use explode, posexplode, inline or stack"
            )
        alias = e.args.get("alias")
        names = [c.name for c in alias.args.get("columns") or []] if alias is not None else []
        table = alias.name if alias is not None else ""
        return generate(node, call, names, scope, outer=bool(e.args.get("outer")), qualifier=table)

    def values(self, e: exp.Values) -> Node:
        """Constant rows, as a union of projections of one row; columns are col1, col2, ... unless they are renamed."""
        rows = []
        for row in e.expressions:
            values = row.expressions if isinstance(row, exp.Tuple) else [row]
            named = [
                exp.Alias(this=v.copy(), alias=exp.to_identifier(f"col{i}")) for i, v in enumerate(values, 1)
            ]
            rows.append(analyze.project(one_row(), named, self.settings))
        return rows[0] if len(rows) == 1 else analyze.union(rows, self.settings)

    # --- Set operations ---------------------------------------------------------------------------------------------

    def set_operation(self, e: exp.SetOperation) -> Node:
        only(e, "with_", "this", "expression", "distinct", "by_name", "order", "limit", "offset")
        left, right = self.query(e.this), self.query(e.expression)
        distinct = bool(e.args.get("distinct"))
        if isinstance(e, exp.Union):
            node = analyze.union([left, right], self.settings, by_name=bool(e.args.get("by_name")))
            return analyze.deduplicate(node, None, self.settings) if distinct else node
        word = type(e).__name__.upper()
        if not distinct:
            raise refused(e, f"{word} ALL", f"use {word}, which leaves duplicates out")
        return analyze.set_operation(
            left, right, "intersect" if isinstance(e, exp.Intersect) else "except", self.settings
        )


def one_row() -> Node:
    """One row without columns, for a SELECT without FROM."""
    return Project(analyze.range_(0, 1), ())


def _groups(e: exp.Select) -> bool:
    if e.args.get("group") is not None or e.args.get("having") is not None:
        return True
    return any(has_aggregate(i) for i in e.expressions)


def ordered_everything(items: Sequence[exp.Expression]) -> bool:
    """Whether it is ORDER BY ALL."""
    return any(isinstance(i.this, exp.Var) for i in items)


__all__ = ["Lookup", "ParseException", "query_to_plan"]
