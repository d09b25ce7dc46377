"""GROUP BY: keys, one node entry per aggregate call, and a projection above for what is computed from them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from sqlglot import exp

from tidemill.errors import AnalysisException
from tidemill.plan.dialect import function_name
from tidemill.plan.expressions import (
    Settings,
    compile_aggregate,
    is_aggregate,
    is_deterministic,
    is_generator,
)
from tidemill.plan.functions.registry import lookup
from tidemill.plan.grouped_names import Later, read_grouped, read_key, window_calls
from tidemill.plan.grouping_sets import Grouping, Sets, grouping_sets
from tidemill.plan.hidden import narrowed
from tidemill.plan.names import NAMED, pretty
from tidemill.plan.nodes import Aggregate, Attribute, Filter, Named, Node, Ref, Session
from tidemill.plan.ordering import orders_of, sorted_over
from tidemill.plan.resolve import Scope
from tidemill.plan.select import Item, expand_stars, projected
from tidemill.plan.windows import event_delay, extract
from tidemill.types import MapType

_WRAPPERS = (exp.Filter, exp.IgnoreNulls, exp.RespectNulls, exp.WithinGroup)
"""What may stand around an aggregate call and belongs to it."""


def normal(e: exp.Expression) -> exp.Expression:
    """A form in which two expressions that mean the same compare equal: no written names, no parentheses."""

    def plain(node: exp.Expression) -> exp.Expression:
        if isinstance(node, Ref):
            return Ref(this="", id=node.attribute_id)
        if isinstance(node, exp.Paren):
            return plain(node.this)
        if isinstance(node, exp.Anonymous):
            node.set("this", str(node.this).lower())
        return node

    return e.transform(plain)


def aggregate(
    child: Node,
    keys: Sequence[exp.Expression],
    items: Sequence[exp.Expression],
    settings: Settings,
    grouping: Grouping | None = None,
    having: exp.Expression | None = None,
    order: Sequence[exp.Expression] = (),
) -> Node:
    """One row per distinct value of ``keys``. The output is exactly ``items``, so ``groupBy(k).agg(x)`` passes
    ``[k, x]``; an item combines aggregate calls, keys and constants. Keys may be window() and session_window().
    ``having`` and ``order`` may use the items' names, keys and aggregate calls."""
    scope = Scope.over(child, settings)
    expanded = expand_stars(items, scope)
    resolved_keys = [read_key(k, expanded, scope) for k in expand_stars(keys, scope)]
    windows = window_calls(keys, expanded)
    read = [read_grouped(i, expanded, scope, windows) for i in expanded]
    later = Later(scope, read, windows)
    conditions = [later.resolve(c) for c in ([having] if having is not None else [])]
    ordered = orders_of(order, read, later.resolve)
    return _Grouped(child, scope, resolved_keys, read, conditions, list(ordered), grouping).node()


@dataclass
class _Grouped:
    """Builds the nodes of one aggregation."""

    child: Node
    scope: Scope
    keys: list[exp.Expression]
    items: list[Item]
    conditions: list[exp.Expression]
    order: list[exp.Expression]
    grouping: Grouping | None
    calls: list[Named] = field(default_factory=list)
    named_keys: list[Named] = field(default_factory=list)
    """Keys as the aggregate has them."""
    user_keys: list[tuple[exp.Expression, Ref]] = field(default_factory=list)
    """Keys as the user wrote them, and the columns that hold them."""

    def node(self) -> Node:
        session = self._windows()
        sets = self._prepare_keys(session)
        items = [replace(i, expression=self._above(i.expression, sets)) for i in self.items]
        conditions = [self._above(c, sets) for c in self.conditions]
        order = [self._above(o, sets) for o in self.order]
        node: Node = Aggregate(self.child, tuple(self.named_keys), tuple(self.calls), session)
        for condition in conditions:
            node = Filter(node, condition)
        return self._projected(node, items, order)

    def _windows(self) -> Session | None:
        parts = [*self.keys, *(i.expression for i in self.items), *self.conditions, *self.order]
        windowed = extract(self.child, parts, self.scope, grouping=True)
        self.child = windowed.node
        rest = iter(windowed.expressions)
        self.keys = [next(rest) for _ in self.keys]
        self.items = [replace(i, expression=next(rest)) for i in self.items]
        self.conditions = [next(rest) for _ in self.conditions]
        self.order = [next(rest) for _ in self.order]
        more = (windowed.session.attribute,) if windowed.session is not None else ()
        self.scope = replace(self.scope, visible=(*self.child.output, *more))
        return windowed.session

    def _prepare_keys(self, session: Session | None) -> Sets | None:
        for key in self.keys:
            self._add_key(key, session)
        if self.grouping is None:
            return None
        if session is not None:
            raise AnalysisException(
                "session_window cannot be a key of ROLLUP, CUBE or GROUPING SETS; group by it alone"
            )
        sets = grouping_sets(self.child, self.named_keys, self.user_keys, self.grouping)
        self.child, self.named_keys, self.user_keys = sets.node, sets.keys, sets.user_keys
        self.scope = replace(self.scope, visible=self.child.output)
        return sets

    def _add_key(self, key: exp.Expression, session: Session | None) -> None:
        plain = normal(key)
        if any(k == plain for k, _ in self.user_keys) and self.grouping is None:
            return
        named = self._named_key(key, session)
        if not any(k.attribute.id == named.attribute.id for k in self.named_keys):
            self.named_keys.append(named)
        self.user_keys.append((plain, named.attribute.ref()))

    def _named_key(self, key: exp.Expression, session: Session | None) -> Named:
        if is_generator(key):
            raise AnalysisException(
                f"the generator is not supported: outside the SELECT clause, found: {pretty(key)}; select it first, "
                "then group by its column",
                "UNSUPPORTED_GENERATOR.OUTSIDE_SELECT",
            )
        if isinstance(key, Ref):
            attribute = next(a for a in self.scope.visible if a.id == key.attribute_id)
            if session is not None and attribute.id == session.attribute.id:
                return Named(attribute, exp.Null())
            return Named(attribute, key)
        typed = self.scope.typed(key)
        if isinstance(typed.type, MapType) and self.child.streaming:
            raise AnalysisException(
                f'a streaming query cannot group by "{pretty(key)}", a map: maps have no equality that state could '
                "use; group by map_entries or by single values",
                "GROUP_EXPRESSION_TYPE_IS_NOT_ORDERABLE",
            )
        delay = event_delay(key, self.scope)
        return Named(Attribute(pretty(key), typed.type, typed.nullable, delay=delay), key)

    # --- Above the aggregate ----------------------------------------------------------------------------------------

    def _above(self, e: exp.Expression, sets: Sets | None) -> exp.Expression:
        """``e`` over the aggregate's output: its keys and calls replaced by their columns."""
        made = self._replaced(e, sets)
        known = {k.attribute.id for k in (*self.named_keys, *self.calls)}
        for ref in made.find_all(Ref):
            if ref.attribute_id not in known:
                for name in map(function_name, made.find_all(exp.Anonymous)):
                    lookup(name)  # a name that is no function is the likelier mistake
                raise self._not_grouped(ref)
        return made

    def _replaced(self, e: exp.Expression, sets: Sets | None) -> exp.Expression:
        plain = normal(e)
        for known, ref in self.user_keys:
            if known == plain:
                return _kept_name(ref, e)
        if function_name(e) in ("grouping", "grouping_id"):
            return self._grouping_call(e, sets)
        if is_call(e):
            return self._call(e)
        made = e.copy() if e.parent is None else e
        whole = made.this if isinstance(made, exp.Window) else None
        for key, value in list(made.args.items()):
            if value is whole and isinstance(value, exp.Expression):
                self._window_arguments(value, sets)
            elif isinstance(value, exp.Expression):
                made.set(key, self._replaced(value, sets))
            elif isinstance(value, list):
                made.set(
                    key, [self._replaced(v, sets) if isinstance(v, exp.Expression) else v for v in value]
                )
        return made

    def _window_arguments(self, function: exp.Expression, sets: Sets | None) -> None:
        """In ``sum(sum(x)) OVER (...)`` only the inner call is this aggregation's."""
        arguments = [self._replaced(a, sets) for a in function.expressions]
        function.set("expressions", arguments)

    def _grouping_call(self, e: exp.Expression, sets: Sets | None) -> exp.Expression:
        if sets is None:
            raise AnalysisException(
                "grouping()/grouping_id() can only be used with GroupingSets/Cube/Rollup",
                "UNSUPPORTED_GROUPING_EXPRESSION",
            )
        return sets.call(function_name(e), [normal(a) for a in e.expressions], pretty(e))

    def _call(self, e: exp.Expression) -> Ref:
        _check_call(e)
        plain = normal(e)
        for known in self.calls:
            if normal(known.expression) == plain:
                return known.attribute.ref()
        spec = compile_aggregate(e, self.scope.types(), self.scope.settings)
        attribute = Attribute(pretty(e), spec.type, spec.nullable)
        self.calls.append(Named(attribute, e.copy()))
        return attribute.ref()

    def _not_grouped(self, ref: Ref) -> AnalysisException:
        if not self.keys:
            return AnalysisException(
                f'the query does not include a GROUP BY clause, but uses the column "{ref.this}" beside aggregates; '
                "add GROUP BY, turn the aggregates into window functions with OVER, or wrap the column in any_value()",
                "MISSING_GROUP_BY",
            )
        return AnalysisException(
            f'the non-aggregating expression "{ref.this}" is based on columns which are not participating in the '
            f'GROUP BY clause; add "{ref.this}" to the keys, or wrap it in an aggregate such as any_value()',
            "MISSING_AGGREGATION",
            {"expression": f'"{ref.this}"', "expressionAnyValue": f'"any_value({ref.this})"'},
        )

    def _projected(self, node: Node, items: list[Item], order: list[exp.Expression]) -> Node:
        scope = Scope(node.output, self.scope.settings)
        written = [_as_written(i, self.items[n], node) for n, i in enumerate(items)]
        if not order and [_ref_id(w) for w in written] == [a.id for a in node.output]:
            return node
        named = None if order else self._renamed(node, items)
        if named is not None:
            return named
        made = projected(node, written, scope)
        if not order:
            return made
        return narrowed(sorted_over(made, node, items, order, scope), made.output)

    def _renamed(self, node: Node, items: list[Item]) -> Node | None:
        """The aggregation itself under the items' names, where they are just its columns in order."""
        if not isinstance(node, Aggregate) or node.session is not None:
            return None
        if [_ref_id(i.expression) for i in items] != [a.id for a in node.output]:
            return None
        named = [
            Named(k.attribute.renewed(name=i.names[0], qualifier=()), k.expression) if i.aliased else k
            for k, i in zip((*node.keys, *node.aggregates), items, strict=True)
        ]
        if any(n.attribute.name != i.names[0] for n, i in zip(named, items, strict=True)):
            return None
        keys = len(node.keys)
        return replace(node, keys=tuple(named[:keys]), aggregates=tuple(named[keys:]))


def _kept_name(ref: Ref, e: exp.Expression) -> Ref:
    made = ref.copy()
    if isinstance(e, Ref):
        made.set("this", e.this)
    elif NAMED in e.meta:
        made.meta[NAMED] = e.meta[NAMED]
    return made


def _ref_id(e: exp.Expression) -> int:
    return e.attribute_id if isinstance(e, Ref) else 0


def _as_written(item: Item, before: Item, node: Node) -> exp.Expression:
    """The entry for `projected`, under the name that it had before its calls became columns."""
    e = item.expression
    if item.aliased and len(item.names) > 1:
        return exp.Aliases(this=e, expressions=[exp.to_identifier(n, quoted=True) for n in item.names])
    if not item.names:
        return e
    if isinstance(e, Ref) and not item.aliased:
        named = next(a for a in node.output if a.id == e.attribute_id)
        if named.name == item.names[0]:
            return e
    return exp.Alias(this=e, alias=exp.to_identifier(item.names[0], quoted=True))


def is_call(e: exp.Expression) -> bool:
    """Whether it is an aggregate call, with what belongs to it around it."""
    inner = e
    while isinstance(inner, _WRAPPERS):
        inner = inner.this
    return is_aggregate(inner)


def _check_call(e: exp.Expression) -> None:
    inner = e
    while isinstance(inner, _WRAPPERS):
        inner = inner.this
    for argument in [n for a in inner.expressions for n in a.walk()]:
        if is_aggregate(argument):
            raise AnalysisException(
                f"it is not allowed to use an aggregate function in the argument of another aggregate function: "
                f"{pretty(e)}; use the inner aggregate function in a sub-query",
                "NESTED_AGGREGATE_FUNCTION",
            )
    if not all(is_deterministic(a) for a in inner.expressions):
        raise AnalysisException(
            f'non-deterministic expression "{pretty(e)}" should not appear in the arguments of an aggregate '
            "function; compute the argument in a select below first",
            "AGGREGATE_FUNCTION_WITH_NONDETERMINISTIC_EXPRESSION",
        )
