"""Names in a grouped query: keys by position and alias, lateral aliases, and windows by the name of their column."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from sqlglot import exp

from tidemill.errors import AnalysisException
from tidemill.plan.dialect import function_name
from tidemill.plan.expressions import has_aggregate, is_aggregate
from tidemill.plan.names import NAMED, pretty
from tidemill.plan.resolve import WINDOW_CALLS, Scope
from tidemill.plan.select import Item, read_item


def read_key(written: exp.Expression, items: Sequence[exp.Expression], scope: Scope) -> exp.Expression:
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


Windows = dict[str, exp.Expression]
"""Window calls among the keys, by the name that their column has: ``window.start`` means a field of it."""


def window_calls(keys: Sequence[exp.Expression], items: Sequence[exp.Expression]) -> Windows:
    found: Windows = {}
    for e in (*keys, *items):
        for window in e.find_all(exp.Anonymous):
            if function_name(window) in WINDOW_CALLS:
                found.setdefault(function_name(window), window)
    return found


def read_grouped(
    written: exp.Expression, items: Sequence[exp.Expression], scope: Scope, windows: Windows
) -> Item:
    """An entry; one that uses an earlier entry's alias gets that entry's expression in its place."""
    try:
        return read_item(written, scope)
    except AnalysisException as error:
        if not (error.condition or "").startswith("UNRESOLVED_COLUMN"):
            raise
        earlier = items[: next(n for n, i in enumerate(items) if i is written)]
        aliases = {i.alias: i.this for i in earlier if isinstance(i, exp.Alias)}
        item = read_item(_inlined(written, aliases, windows, scope, error), scope)
        return replace(item, names=(written.parts[-1].name,)) if isinstance(written, exp.Column) else item


def _inlined(
    e: exp.Expression,
    aliases: dict[str, exp.Expression],
    windows: Windows,
    scope: Scope,
    error: AnalysisException,
) -> exp.Expression:
    def inline(node: exp.Expression) -> exp.Expression:
        if not isinstance(node, exp.Column) or _known(node, scope):
            return node
        head = node.parts[0].name
        found = next((v for k, v in aliases.items() if scope.same(k, head)), None)
        if found is not None:
            _refuse_lateral_in_aggregate(node)
            return _field_of(found, node, f"lateralAliasReference({head})")
        window = windows.get(head.lower())
        return node if window is None else _field_of(window, node, head)

    made = e.transform(inline)
    if made == e:
        raise error
    return made


def _field_of(base: exp.Expression, column: exp.Column, shown: str) -> exp.Expression:
    """What a dotted name means, whose first part stands for ``base``."""
    made: exp.Expression = exp.Paren(this=base.copy())
    made.meta[NAMED] = shown
    for part in column.parts[1:]:
        made = exp.Dot(this=made, expression=exp.to_identifier(part.name, quoted=True))
    return made


def _refuse_lateral_in_aggregate(node: exp.Expression) -> None:
    parent = node.parent
    while isinstance(parent, exp.Expression):
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
class Later:
    """Names in HAVING and ORDER BY: the items' names first, except inside aggregate calls."""

    scope: Scope
    items: Sequence[Item]
    windows: Windows

    def resolve(self, e: exp.Expression) -> exp.Expression:
        return self.scope.resolve(self._named(e, inside=False))

    def _named(self, e: exp.Expression, inside: bool) -> exp.Expression:
        if isinstance(e, exp.Column) and not inside:
            head = e.parts[0].name
            found = [i for i in self.items if len(i.names) == 1 and self.scope.same(i.names[0], head)]
            if len(found) == 1:
                return _field_of(found[0].expression, e, head)
            if head.lower() in self.windows and not _known(e, self.scope):
                return _field_of(self.windows[head.lower()], e, head)
        made = e.copy() if e.parent is None else e
        inside = inside or is_aggregate(made)
        for key, value in list(made.args.items()):
            if isinstance(value, exp.Expression):
                made.set(key, self._named(value, inside))
            elif isinstance(value, list):
                made.set(key, [self._named(v, inside) if isinstance(v, exp.Expression) else v for v in value])
        return made
