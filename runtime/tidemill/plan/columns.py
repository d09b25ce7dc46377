"""Variations of select: with, without and under other names, each a projection of the child's columns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sqlglot import exp

from tidemill.errors import AnalysisException
from tidemill.plan.expressions import Settings
from tidemill.plan.nodes import Named, Node, Project, Ref
from tidemill.plan.resolve import Scope, quoted
from tidemill.plan.select import project, projected


def with_columns(child: Node, columns: Mapping[str, exp.Expression], settings: Settings) -> Node:
    """The child's columns, those named in ``columns`` replaced in place, new ones at the end."""
    scope = Scope.over(child, settings)
    names = list(columns)
    for i, name in enumerate(names):
        if any(scope.same(name, other) for other in names[:i]):
            raise AnalysisException(
                f"the column {quoted(name.lower())} already exists; choose another name or rename the existing column",
                "COLUMN_ALREADY_EXISTS",
            )
    used: set[str] = set()
    items: list[exp.Expression] = []
    for a in child.output:
        found = next((n for n in names if scope.same(n, a.name)), None)
        items.append(a.ref() if found is None else _aliased(columns[found], found))
        used |= {found} if found is not None else set()
    items += [_aliased(columns[n], n) for n in names if n not in used]
    return project(child, items, settings)


def _aliased(e: exp.Expression, name: str) -> exp.Expression:
    inner = e.this if isinstance(e, exp.Alias) else e
    return exp.Alias(this=inner.copy(), alias=exp.to_identifier(name, quoted=True))


def rename(child: Node, names: Mapping[str, str], settings: Settings) -> Node:
    """``withColumn(s)Renamed``: old name to new; names that do not exist are ignored, as in Spark."""
    scope = Scope.over(child, settings)
    items: list[exp.Expression] = []
    for a in child.output:
        new = next((new for old, new in names.items() if scope.same(old, a.name)), None)
        items.append(a.ref() if new is None else _aliased(a.ref(), new))
    if all(isinstance(i, Ref) for i in items):
        return child
    return projected(child, items, scope)


def rename_all(child: Node, names: Sequence[str]) -> Node:
    """``toDF(*names)``: every column under a new name, by position."""
    if len(names) != len(child.output):
        raise AnalysisException(
            f"the number of columns or variables assigned or aliased: {len(names)} does not match the number of "
            f"source expressions: {len(child.output)}; the columns are {', '.join(a.name for a in child.output)}",
            "ASSIGNMENT_ARITY_MISMATCH",
        )
    renamed = [
        Named(a if a.name == n else a.renewed(name=n, qualifier=()), a.ref())
        for a, n in zip(child.output, names, strict=True)
    ]
    return Project(child, tuple(renamed))


def drop(child: Node, columns: Sequence[str | exp.Expression], settings: Settings) -> Node:
    """Without these columns; those that do not exist are ignored, as in Spark."""
    scope = Scope.over(child, settings)
    gone: set[int] = set()
    for column in columns:
        if isinstance(column, str):
            gone |= {a.id for a in child.output if scope.same(a.name, column)}
        elif isinstance(column, Ref):
            gone.add(column.attribute_id)
        else:
            gone |= _named(column, scope)
    kept = [a for a in child.output if a.id not in gone]
    return child if len(kept) == len(child.output) else Project(child, tuple(Named(a, a.ref()) for a in kept))


def _named(column: exp.Expression, scope: Scope) -> set[int]:
    try:
        found = scope.resolve(column)
    except AnalysisException as error:
        if (error.condition or "").startswith("UNRESOLVED_COLUMN"):
            return set()
        raise
    return {found.attribute_id} if isinstance(found, Ref) else set()
