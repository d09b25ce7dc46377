"""WHERE with subqueries: IN, EXISTS and their negations as semi and anti joins; single values as a join of one row."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlglot import exp

from tidemill.errors import AnalysisException
from tidemill.plan import analyze
from tidemill.plan.combine import apart
from tidemill.plan.dialect import call
from tidemill.plan.expressions import Settings
from tidemill.plan.hidden import narrowed
from tidemill.plan.names import pretty
from tidemill.plan.nodes import Aggregate, Join, JoinType, Node, Project
from tidemill.plan.resolve import Scope
from tidemill.plan.sqlclauses import refused

if TYPE_CHECKING:
    from tidemill.plan.sqltext import _Reader


def where(node: Node, condition: exp.Expression, reader: _Reader, settings: Settings) -> Node:
    """Rows of ``node`` for which ``condition``, which may hold subqueries, is true."""
    plain: list[exp.Expression] = []
    nested: list[exp.Expression] = []
    for part in _conjuncts(condition):
        (nested if part.find(exp.Query, exp.Exists) else plain).append(part)
    if plain:
        node = analyze.filter_rows(node, _joined(plain), settings)
    for part in nested:
        node = _Subquery(node, part, reader, settings).node()
    return node


def selected(
    node: Node, items: list[exp.Expression], reader: _Reader, settings: Settings
) -> tuple[Node, list[exp.Expression]]:
    """``node`` with the values of the scalar subqueries of SELECT beside its columns, and the items that read them."""
    if not any(i.find(exp.Query, exp.Exists) for i in items):
        return node, items
    shown: list[exp.Expression] = []
    for item in items:
        # A star is of what FROM gives, without the subqueries' values.
        shown += (
            [a.ref() for a in node.output]
            if isinstance(item, exp.Star) and not any(item.args.values())
            else [item]
        )
    for i, item in enumerate(shown):
        if item.find(exp.Query, exp.Exists):
            read = _Subquery(node, item, reader, settings)
            node, shown[i] = read.valued(_named(item))
    return node, shown


def _named(item: exp.Expression) -> exp.Expression:
    """The item under the name that its column has, which the reference that takes the subquery's place has not."""
    if isinstance(item, exp.Alias):
        return item
    name = item.alias or ("scalarsubquery()" if isinstance(item, exp.Subquery) else pretty(item))
    bare = item.copy()
    bare.set("alias", None)
    return exp.Alias(this=bare, alias=exp.to_identifier(name, quoted=True))


def _conjuncts(e: exp.Expression) -> list[exp.Expression]:
    if isinstance(e, exp.And):
        return [*_conjuncts(e.this), *_conjuncts(e.expression)]
    if isinstance(e, exp.Paren) and isinstance(e.this, exp.And):
        return _conjuncts(e.this)
    return [e]


def _joined(parts: list[exp.Expression]) -> exp.Expression:
    made = parts[0].copy()
    for part in parts[1:]:
        made = exp.And(this=made, expression=part.copy())
    return made


class _Subquery:
    """One conjunct with a subquery over the rows of ``outer``."""

    def __init__(self, outer: Node, part: exp.Expression, reader: _Reader, settings: Settings) -> None:
        self.outer, self.part, self.reader, self.settings = outer, part, reader, settings

    def node(self) -> Node:
        e, negated = _unwrapped(self.part)
        how: JoinType = "anti" if negated else "semi"
        if isinstance(e, exp.Exists):
            return self._exists(_query(e.this), how)
        if isinstance(e, exp.In) and e.args.get("query") is not None:
            return self._in(e, _query(e.args["query"]), how)
        return self._scalar()

    def _exists(self, query: exp.Expression, how: JoinType) -> Node:
        inner, condition = self._opened(query)
        if inner is None:
            inner = self._closed(query)
        return self._semi(inner, [condition] if condition is not None else [], how)

    def _in(self, e: exp.In, query: exp.Expression, how: JoinType) -> Node:
        inner, condition = self._opened(query)
        items = query.expressions if isinstance(query, exp.Select) else []
        conditions = [condition] if condition is not None else []
        if inner is not None and len(items) == 1 and not items[0].find(exp.Star) and conditions:
            value = items[0].this if isinstance(items[0], exp.Alias) else items[0]
            scope = Scope(inner.output, self.settings)
            found = scope.resolve(value)
        else:
            inner, conditions = self._closed(query), []
            if len(inner.output) != 1:
                raise AnalysisException(
                    f"the subquery of IN gives {len(inner.output)} columns, but one value is compared; select one",
                    "DATATYPE_MISMATCH.IN_SUBQUERY_LENGTH_MISMATCH",
                )
            found = None
        return self._semi(inner, conditions, how, e.this, found)

    def _semi(
        self,
        inner: Node,
        conditions: list[exp.Expression],
        how: JoinType,
        compared: exp.Expression | None = None,
        value: exp.Expression | None = None,
    ) -> Node:
        self._refuse_stream(inner)
        before = [a.id for a in inner.output]
        inner, _ = apart(self.outer, inner)
        after = dict(zip(before, (a.id for a in inner.output), strict=True))
        scope = Scope(inner.output, self.settings, self.outer.output)
        parts = [scope.resolve(c) for c in conditions]
        if compared is not None:
            left = Scope(self.outer.output, self.settings).resolve(compared)
            right = inner.output[0].ref() if value is None else _moved(value, after)
            parts.insert(0, _equal(left, right, how))
        condition = _joined(parts) if parts else None
        if condition is not None:
            Scope((*self.outer.output, *inner.output), self.settings).typed(condition)
        return Join(self.outer, inner, how, condition)

    def _opened(self, query: exp.Expression) -> tuple[Node | None, exp.Expression | None]:
        """FROM and WHERE apart where the query has nothing else, so that WHERE may name columns of the outer query."""
        if not isinstance(query, exp.Select):
            return None, None
        others = (
            "with_",
            "distinct",
            "group",
            "having",
            "windows",
            "order",
            "limit",
            "offset",
            "laterals",
            "qualify",
        )
        clause = query.args.get("where")
        if any(query.args.get(k) for k in others) or clause is None or clause.find(exp.Query, exp.Exists):
            return None, None
        return self.reader.nested().relation(query), clause.this

    def _closed(self, query: exp.Expression) -> Node:
        try:
            return self.reader.nested().query(query)
        except AnalysisException as error:
            if (error.condition or "").startswith("UNRESOLVED_COLUMN"):
                raise AnalysisException(
                    f"{error.desc} (in a subquery: columns of the outer query can be used in the WHERE of a simple "
                    "IN or EXISTS subquery only)",
                    error.condition,
                ) from None
            raise

    def _scalar(self) -> Node:
        """Comparisons with single values: each subquery is one row of a global aggregate, joined to every row."""
        node, part = self.valued(self.part)
        return narrowed(analyze.filter_rows(node, part, self.settings), self.outer.output)

    def valued(self, part: exp.Expression) -> tuple[Node, exp.Expression]:
        """The outer rows with each subquery's value beside them, and ``part`` with references to the values."""
        part, node = part.copy(), self.outer
        if part.find(exp.Exists) or any(i.args.get("query") for i in part.find_all(exp.In)):
            raise refused(
                part,
                "a subquery inside OR, NOT or an expression",
                "put IN or EXISTS beside AND, or write a join",
            )
        for query in list(part.find_all(exp.Subquery)):
            if query.find_ancestor(exp.Subquery) is not None:
                continue
            inner = self._closed(query)
            self._refuse_stream(inner)
            if len(inner.output) != 1 or not _one_row(inner):
                raise refused(
                    query,
                    "a scalar subquery that may give several rows or columns",
                    "select one aggregate without GROUP BY, such as max(x), or write a join",
                )
            inner, _ = apart(node, inner)
            node = Join(node, inner, "cross", None)
            query.replace(inner.output[0].ref())
        return node, part

    def _refuse_stream(self, inner: Node) -> None:
        if inner.streaming:
            raise AnalysisException(
                "invalid subquery: streaming query is not allowed in subquery expressions; write a stream-stream join",
                "INVALID_SUBQUERY_EXPRESSION.STREAMING_QUERY",
            )


def _unwrapped(e: exp.Expression) -> tuple[exp.Expression, bool]:
    negated = False
    while isinstance(e, (exp.Not, exp.Paren)):
        negated ^= isinstance(e, exp.Not)
        e = e.this
    return e, negated


def _query(e: exp.Expression) -> exp.Expression:
    while isinstance(e, (exp.Subquery, exp.Paren)) and not e.args.get("with_"):
        e = e.this
    return e


def _moved(e: exp.Expression, after: dict[int, int]) -> exp.Expression:
    from tidemill.plan.renew import expression

    return expression(e, after)


def _equal(left: exp.Expression, right: exp.Expression, how: JoinType) -> exp.Expression:
    """``left = right``; for NOT IN unknown counts as equal, so that a null on either side keeps the row out."""
    equal = exp.EQ(this=left, expression=right)
    return equal if how == "semi" else call("coalesce", equal, exp.Boolean(this=True))


def _one_row(node: Node) -> bool:
    while isinstance(node, Project):
        node = node.child
    return isinstance(node, Aggregate) and not node.keys
