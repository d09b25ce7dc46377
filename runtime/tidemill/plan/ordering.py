"""ORDER BY: positions, aliases, nulls, and columns that the SELECT list has dropped."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from sqlglot import exp

from tidemill.errors import AnalysisException
from tidemill.plan.expressions import Settings, has_aggregate, has_window, is_generator
from tidemill.plan.hidden import expose, narrowed
from tidemill.plan.names import pretty
from tidemill.plan.nodes import Named, Node, Order, Project, Ref, Sort
from tidemill.plan.resolve import Scope, refs
from tidemill.plan.select import Item, name_expression
from tidemill.types import ArrayType, DataType, MapType, StructType


def ordered(e: exp.Expression) -> exp.Ordered:
    """The item with its direction; ascending puts nulls first, descending last, as in Spark."""
    if not isinstance(e, exp.Ordered):
        return exp.Ordered(this=e.copy(), desc=False, nulls_first=True)
    made = e.copy()
    made.set("desc", bool(made.args.get("desc")))
    if made.args.get("nulls_first") is None:
        made.set("nulls_first", not made.args["desc"])
    return made


def order_of(e: exp.Ordered) -> Order:
    return Order(e.this, bool(e.args.get("desc")), bool(e.args.get("nulls_first")))


def position_of(e: exp.Expression) -> int | None:
    """The position that a plain integer means."""
    if isinstance(e, exp.Literal) and not e.is_string and str(e.this).isdigit():
        return int(e.this)
    return None


def out_of_range(position: int, count: int) -> AnalysisException:
    return AnalysisException(
        f"ORDER BY position {position} is not in select list (valid range is [1, {count}])",
        "ORDER_BY_POS_OUT_OF_RANGE",
    )


def sort(child: Node, items: Sequence[exp.Expression], settings: Settings) -> Node:
    """``orderBy``: items may be ``exp.Ordered``; a plain integer literal is a position, counted from 1."""
    from tidemill.plan.later import with_calls_below  # aggregation's ORDER BY comes through this module

    made: list[exp.Ordered] = []
    base = child
    for written in items:
        base, pointed = with_calls_below(base, ordered(written), settings)
        assert isinstance(pointed, exp.Ordered)
        made.append(pointed)
    scope = Scope.reaching(base, settings)
    for item in made:
        position = position_of(item.this)
        if position is not None:
            if not 1 <= position <= len(child.output):
                raise out_of_range(position, len(child.output))
            item.set("this", child.output[position - 1].ref())
        item.set("this", scope.resolve(item.this))
    return narrowed(_sorted(base, made, scope), child.output)


def _sorted(child: Node, items: Sequence[exp.Ordered], scope: Scope) -> Node:
    needed = set().union(*(refs(i) for i in items)) if items else set()
    base = expose(child, needed)
    base, items = _windows_below(base, items, scope)
    for item in items:
        _check(item, replace(scope, visible=base.output, hidden=()))
    return narrowed(Sort(base, tuple(order_of(i) for i in items)), child.output)


def _windows_below(base: Node, items: Sequence[exp.Ordered], scope: Scope) -> tuple[Node, list[exp.Ordered]]:
    """Window functions in ORDER BY are columns of a projection below."""
    more: list[Named] = []
    made: list[exp.Ordered] = []
    for item in items:
        if has_window(item.this):
            named = name_expression(
                Item(item.this, (pretty(item.this),)), replace(scope, visible=base.output)
            )
            more.append(named)
            item = item.copy()
            item.set("this", named.attribute.ref())
        made.append(item)
    if not more:
        return base, made
    return Project(base, (*(Named(a, a.ref()) for a in base.output), *more)), made


def _check(item: exp.Ordered, scope: Scope) -> None:
    e = item.this
    if has_aggregate(e):
        raise AnalysisException(
            f"aggregate {pretty(e)} cannot be sorted by here: there is no GROUP BY below; aggregate first, then sort",
            "UNSUPPORTED_EXPR_FOR_OPERATOR",
        )
    if any(is_generator(n) for n in e.walk()):
        raise AnalysisException(
            f"the generator is not supported: outside the SELECT clause, found: {pretty(e)}",
            "UNSUPPORTED_GENERATOR.OUTSIDE_SELECT",
        )
    kind = scope.typed(e).type
    if not orderable(kind):
        raise AnalysisException(
            f'cannot resolve "{pretty(item)}" due to data type mismatch: the `sortorder` does not support ordering on '
            f'type "{kind.simpleString().upper()}"; sort by a part of it that has an order',
            "DATATYPE_MISMATCH.INVALID_ORDERING_TYPE",
        )


def orderable(kind: DataType) -> bool:
    """Whether values of the type have an order: maps have none, nor has what contains one."""
    match kind:
        case MapType():
            return False
        case ArrayType(element):
            return orderable(element)
        case StructType(fields):
            return all(orderable(f.dataType) for f in fields)
    return True


# --- Above an aggregation -------------------------------------------------------------------------------------------


def orders_of(
    items: Sequence[exp.Expression],
    selected: Sequence[Item],
    resolve: Callable[[exp.Expression], exp.Expression],
) -> list[exp.Ordered]:
    """ORDER BY items of an aggregation, resolved over what lies below it and over the SELECT list's names."""
    made: list[exp.Ordered] = []
    for item in map(ordered, items):
        position = position_of(item.this)
        if position is None:
            item.set("this", resolve(item.this))
        elif 1 <= position <= len(selected):
            item.set("this", selected[position - 1].expression.copy())
        else:
            raise out_of_range(position, len(selected))
        made.append(item)
    return made


def sorted_over(
    made: Node, below: Node, items: Sequence[Item], order: Sequence[exp.Expression], scope: Scope
) -> Node:
    """A Sort over the projection ``made`` of ``items`` above ``below``, by expressions over ``below``'s columns."""
    outputs = dict(zip([i.expression for i in items], made.output, strict=False))
    ready: list[exp.Ordered] = []
    for item in order:
        assert isinstance(item, exp.Ordered)
        item = item.copy()
        e = item.this.this if isinstance(item.this, exp.Paren) else item.this
        same = next((a for known, a in outputs.items() if known == e), None)
        item.set("this", same.ref() if same is not None and not isinstance(e, Ref) else e)
        ready.append(item)
    reach = Scope.reaching(made, scope.settings)
    return _sorted(made, ready, replace(reach, hidden=(*reach.hidden, *below.output)))
