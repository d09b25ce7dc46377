"""GROUP BY: keys, one node entry per aggregate call, and a projection above for what is computed from them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from sqlglot import exp

from tidemill.errors import AnalysisException
from tidemill.plan.dialect import call, function_name
from tidemill.plan.expressions import (
    Settings,
    compile_aggregate,
    has_aggregate,
    is_aggregate,
    is_deterministic,
    is_generator,
)
from tidemill.plan.grouping_sets import Grouping, Sets, grouping_sets
from tidemill.plan.names import NAMED, pretty
from tidemill.plan.nodes import Aggregate, Attribute, Filter, Named, Node, Project, Ref, Session
from tidemill.plan.ordering import orders_of, sorted_over
from tidemill.plan.resolve import Scope, narrowed, refs
from tidemill.plan.select import Item, expand_stars, item_name, projected, read_item
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
    resolved_keys = [_key(k, expanded, scope) for k in expand_stars(keys, scope)]
    read = [_item(i, expanded, scope) for i in expanded]
    later = _Later(scope, read)
    conditions = [later.resolve(c) for c in ([having] if having is not None else [])]
    ordered = orders_of(order, read, later.resolve)
    return _Grouped(child, scope, resolved_keys, read, conditions, ordered, grouping).node()


def _key(written: exp.Expression, items: Sequence[exp.Expression], scope: Scope) -> exp.Expression:
    """A key as written: an expression, an item's position counted from 1, or an item's alias."""
    written = written.this if isinstance(written, exp.Alias) else written
    if isinstance(written, exp.Literal) and not written.is_string and str(written.this).isdigit():
        return _by_position(int(written.this), items, scope)
    try:
        key = scope.resolve(written)
    except AnalysisException as error:
        aliased = _alias_of(written, items, scope)
        if aliased is None:
            raise error from None
        key = scope.resolve(aliased)
    while isinstance(key, exp.Paren):
        key = key.this
    if has_aggregate(key):
        raise AnalysisException(
            f"aggregate functions are not allowed in GROUP BY, but found {pretty(key)}", "GROUP_BY_AGGREGATE"
        )
    return key


def _alias_of(
    written: exp.Expression, items: Sequence[exp.Expression], scope: Scope
) -> exp.Expression | None:
    if not (isinstance(written, exp.Column) and len(written.parts) == 1):
        return None
    found = [i.this for i in items if isinstance(i, exp.Alias) and scope.same(i.alias, written.name)]
    return found[0] if len(found) == 1 else None


def _by_position(position: int, items: Sequence[exp.Expression], scope: Scope) -> exp.Expression:
    if not 1 <= position <= len(items):
        raise AnalysisException(
            f"GROUP BY position {position} is not in select list (valid range is [1, {len(items)}])",
            "GROUP_BY_POS_OUT_OF_RANGE",
        )
    item = items[position - 1]
    item = item.this if isinstance(item, exp.Alias) else item
    if has_aggregate(item):
        raise AnalysisException(
            f"GROUP BY {position} refers to an expression {pretty(item)} that contains an aggregate function; "
            "aggregate functions are not allowed in GROUP BY",
            "GROUP_BY_POS_AGGREGATE",
        )
    return scope.resolve(item)


def _item(written: exp.Expression, items: Sequence[exp.Expression], scope: Scope) -> Item:
    """An entry; one that uses an earlier entry's alias gets that entry's expression in its place."""
    try:
        return read_item(written, scope)
    except AnalysisException as error:
        if not (error.condition or "").startswith("UNRESOLVED_COLUMN"):
            raise
        earlier = items[: next(n for n, i in enumerate(items) if i is written)]
        aliases = {i.alias: i.this for i in earlier if isinstance(i, exp.Alias)}
        item = read_item(_inlined(written, aliases, scope, error), scope)
        return replace(item, names=(written.parts[-1].name,)) if isinstance(written, exp.Column) else item


def _inlined(
    e: exp.Expression, aliases: dict[str, exp.Expression], scope: Scope, error: AnalysisException
) -> exp.Expression:
    def inline(node: exp.Expression) -> exp.Expression:
        if isinstance(node, exp.Column):
            head, *path = (p.name for p in node.parts)
            found = next((v for k, v in aliases.items() if scope.same(k, head)), None)
            if found is not None and not _known(node, scope):
                _refuse_lateral_in_aggregate(node)
                made: exp.Expression = exp.Paren(this=found.copy())
                made.meta[NAMED] = f"lateralAliasReference({head})"
                for name in path:
                    made = exp.Dot(this=made, expression=exp.to_identifier(name, quoted=True))
                return made
        return node

    made = e.transform(inline)
    if made == e:
        raise error
    return made


def _refuse_lateral_in_aggregate(node: exp.Expression) -> None:
    parent = node.parent
    while parent is not None:
        if is_aggregate(parent):
            raise AnalysisException(
                f"the feature is not supported: referencing a lateral column alias `{node.name}` in the aggregate "
                f"function {pretty(parent)}; write out what the alias stands for",
                "UNSUPPORTED_FEATURE.LATERAL_COLUMN_ALIAS_IN_AGGREGATE_FUNC",
            )
        parent = parent.parent


def _known(node: exp.Expression, scope: Scope) -> bool:
    try:
        scope.resolve(node)
    except AnalysisException:
        return False
    return True


@dataclass
class _Later:
    """Names in HAVING and ORDER BY: the items' names first, except inside aggregate calls."""

    scope: Scope
    items: Sequence[Item]

    def resolve(self, e: exp.Expression) -> exp.Expression:
        return self.scope.resolve(self._named(e, inside=False))

    def _named(self, e: exp.Expression, inside: bool) -> exp.Expression:
        if isinstance(e, exp.Column) and len(e.parts) == 1 and not inside:
            found = [i for i in self.items if len(i.names) == 1 and self.scope.same(i.names[0], e.name)]
            same = {id(i): i for i in found}
            if len(same) == 1:
                return exp.Paren(this=found[0].expression.copy())
        made = e.copy() if e.parent is None else e
        inside = inside or is_aggregate(made)
        for key, value in list(made.args.items()):
            if isinstance(value, exp.Expression):
                made.set(key, self._named(value, inside))
            elif isinstance(value, list):
                made.set(key, [self._named(v, inside) if isinstance(v, exp.Expression) else v for v in value])
        return made


@dataclass
class _Grouped:
    """Builds the nodes of one aggregation."""

    child: Node
    scope: Scope
    keys: list[exp.Expression]
    items: list[Item]
    conditions: list[exp.Expression]
    order: list[exp.Ordered]
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
                raise self._not_grouped(ref)
        return made

    def _replaced(self, e: exp.Expression, sets: Sets | None) -> exp.Expression:
        plain = normal(e)
        for key, ref in self.user_keys:
            if key == plain:
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
        )

    def _projected(self, node: Node, items: list[Item], order: list[exp.Expression]) -> Node:
        scope = Scope(node.output, self.scope.settings)
        written = [_as_written(i, self.items[n], node) for n, i in enumerate(items)]
        if not order and [_ref_id(w) for w in written] == [a.id for a in node.output]:
            return node
        made = projected(node, written, scope)
        if not order:
            return made
        return narrowed(sorted_over(made, node, items, order, scope), made.output)


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


__all__ = ["Grouping", "Literal", "Project", "aggregate", "call", "item_name", "normal", "refs"]
