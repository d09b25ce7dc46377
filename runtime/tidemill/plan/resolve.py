"""From names as written to columns: qualifiers, nested fields, ambiguity, and columns that a projection has dropped.

Spark's order: ``a.b`` is first the column ``b`` of the alias ``a``, else the field ``b`` of the column ``a``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import cast

from sqlglot import exp

from tidemill.errors import AnalysisException, nearest
from tidemill.plan.dialect import function_name
from tidemill.plan.expressions import Settings, Typed, compile_expression
from tidemill.plan.hidden import dropped, using_leftovers
from tidemill.plan.names import NAMED, pretty
from tidemill.plan.nodes import (
    Attribute,
    Node,
    Ref,
)
from tidemill.types import ArrayType, DataType, MapType, StructField, StructType, TimestampType

WINDOW_CALLS = ("window", "session_window")
"""Calls that become columns only after names are resolved (`plan.windows`)."""
WINDOW_STRUCT = StructType([StructField("start", TimestampType()), StructField("end", TimestampType())])

TAKEN = "taken"
"""Key of the ``meta`` of a Ref that the user took from a DataFrame, as ``df['a']``."""

TIME_OF = "window_time"
"""Key of the ``meta`` of a window's time, which carries the window's watermark."""

_SUGGESTIONS = 5
"""How many names an error proposes, as in Spark."""


def columns(attributes: Iterable[Attribute]) -> dict[int, Typed]:
    """The attributes as `compile_expression` wants them, for types; the SQL is that of `plan.physical`."""
    return {a.id: Typed(f"c{a.id}", a.type, a.nullable) for a in attributes}


def nodes_of(e: exp.Expression) -> Iterator[exp.Expression]:
    """Every node of a tree, the root first."""
    for node in e.walk():
        yield cast(exp.Expression, node)


def refs(e: exp.Expression) -> set[int]:
    """The attributes that an expression reads."""
    return {r.attribute_id for r in e.find_all(Ref)}


def quoted(*parts: str) -> str:
    """A name as Spark's messages show it.

    >>> quoted("t", "a")
    '`t`.`a`'
    """
    return ".".join(f"`{p}`" for p in parts)


@dataclass(frozen=True)
class Scope:
    """The columns that expressions over a node may name."""

    visible: tuple[Attribute, ...]
    settings: Settings
    hidden: tuple[Attribute, ...] = ()
    """Columns below a projection that Spark still finds where no visible one has the name."""
    aliases: Mapping[str, Ref] | None = None
    """Lateral aliases: items of the same SELECT, by name, used last."""

    @classmethod
    def over(cls, node: Node, settings: Settings) -> Scope:
        """For SELECT and GROUP BY: dropped columns are those of the far side of a USING join."""
        return cls(node.output, settings, using_leftovers(node))

    @classmethod
    def reaching(cls, node: Node, settings: Settings) -> Scope:
        """For WHERE and ORDER BY, which also find what projections right below have dropped."""
        return cls(node.output, settings, dropped(node))

    def types(self) -> dict[int, Typed]:
        return columns((*self.visible, *self.hidden))

    def typed(self, e: exp.Expression) -> Typed:
        """Type of a resolved expression; raises `AnalysisException` where the types do not fit."""
        return compile_expression(e, self.types(), self.settings)

    def same(self, a: str, b: str) -> bool:
        return a == b if self.settings.case_sensitive else a.lower() == b.lower()

    def resolve(self, e: exp.Expression) -> exp.Expression:
        """A copy of ``e`` whose columns are Refs, or fields of Refs."""
        return self._resolved(e.copy())

    def _resolved(self, e: exp.Expression) -> exp.Expression:
        if isinstance(e, Ref):
            return self._checked(e)
        if isinstance(e, (exp.Query, exp.Exists)):
            raise AnalysisException(
                f"the subquery {e.sql(dialect='spark')} cannot stand here; write it as a join, or as "
                "`x IN (SELECT ...)` or `EXISTS (SELECT ...)` on its own in WHERE",
                "UNSUPPORTED_SUBQUERY_EXPRESSION_CATEGORY.UNSUPPORTED_CORRELATED_SCALAR_SUBQUERY",
            )
        if isinstance(e, exp.Column):
            return self.column([p.name for p in e.parts])
        if isinstance(e, exp.Dot) and (path := _long_path(e)):
            return self.column(path)
        for key, value in list(e.args.items()):
            if isinstance(value, exp.Expression):
                e.set(key, self._resolved(value))
            elif isinstance(value, list):
                e.set(key, [self._resolved(v) if isinstance(v, exp.Expression) else v for v in value])
        if isinstance(e, exp.Bracket):
            return self._element(e)
        if function_name(e) == "window_time":
            return self._window_time(e)
        if isinstance(e, exp.Dot) and isinstance(e.expression, exp.Identifier) and not _over_lambda(e.this):
            return self.field(e.this, e.expression.name)
        return e

    def _checked(self, ref: Ref) -> exp.Expression:
        known = (*self.visible, *self.hidden)
        if any(a.id == ref.attribute_id for a in known):
            if TAKEN in ref.meta and any(a.twin == ref.attribute_id for a in self.visible):
                raise self.either_side(ref)
            return ref
        names = ", ".join(f'"{a.name}"' for a in self.visible)
        again = any(self.same(a.name, str(ref.this)) for a in self.visible)
        kind = "RESOLVED_ATTRIBUTE_APPEAR_IN_OPERATION" if again else "RESOLVED_ATTRIBUTE_MISSING_FROM_INPUT"
        remedy = (
            f"a column of that name exists here, but it is another one: write col('{ref.this}') for it"
            if again
            else "take the column from the DataFrame that you call the method on, or keep it in the select below"
        )
        raise AnalysisException(
            f'resolved attribute(s) "{ref.this}" missing from {names}; {remedy}', f"MISSING_ATTRIBUTES.{kind}"
        )

    def column(self, parts: Sequence[str]) -> exp.Expression:
        """What the name ``parts`` (dots taken apart) means. Raises on unknown and ambiguous names."""
        without_fields: Attribute | None = None
        for pool in (self.visible, self.hidden):
            found, path = self._matches(parts, pool)
            if len(found) > 1:
                raise self._ambiguous(parts, found)
            if found and path and not _has_fields(found[0].type):
                without_fields = without_fields or found[0]
            elif found:
                return self._path(found[0], parts, path)
        lateral = self._lateral(parts)
        if lateral is None and without_fields is not None:
            return self._path(without_fields, parts, parts[1:])  # says what is wrong with it
        if lateral is None:
            raise self.unknown(parts)
        return lateral

    @staticmethod
    def either_side(ref: Ref) -> AnalysisException:
        """The error for a column that both sides of a self-join have."""
        return AnalysisException(
            f"column {ref.this} is ambiguous: both sides of the join come from the same DataFrame, and so the column "
            "belongs to either; give each side a name with .alias('l') and .alias('r'), and write "
            f"col('l.{ref.this}')",
            "_LEGACY_ERROR_TEMP_1182",
        )

    def _ambiguous(self, parts: Sequence[str], found: Sequence[Attribute]) -> AnalysisException:
        could = ", ".join(quoted(*a.qualifier[-1:], a.name) for a in found)
        return AnalysisException(
            f"reference {quoted(*parts)} is ambiguous, could be: [{could}]; qualify it with an alias, "
            f"or take it from its DataFrame as df['{parts[-1]}']",
            "AMBIGUOUS_REFERENCE",
            {"name": quoted(*parts), "referenceNames": f"[{could}]"},
        )

    def _path(self, attribute: Attribute, parts: Sequence[str], path: Sequence[str]) -> exp.Expression:
        written = parts[len(parts) - len(path) - 1]
        e: exp.Expression = Ref(this=written, id=attribute.id)
        for name in path:
            e = self.field(e, name)
        return e

    def _matches(
        self, parts: Sequence[str], pool: Sequence[Attribute]
    ) -> tuple[list[Attribute], Sequence[str]]:
        if len(parts) > 1:
            found = _distinct(
                a
                for a in pool
                if self.same(a.name, parts[1]) and any(self.same(q, parts[0]) for q in a.qualifier)
            )
            if found:
                return found, parts[2:]
        found = _distinct(a for a in pool if self.same(a.name, parts[0]))
        return found, parts[1:]

    def _lateral(self, parts: Sequence[str]) -> exp.Expression | None:
        for name, ref in (self.aliases or {}).items():
            if self.same(name, parts[0]):
                e: exp.Expression = ref.copy()
                if len(parts) == 1:
                    e.meta[NAMED] = f"lateralAliasReference({parts[0]})"
                for part in parts[1:]:
                    e = exp.Dot(this=e, expression=exp.to_identifier(part))
                return e
        return None

    def unknown(self, parts: Sequence[str]) -> AnalysisException:
        """The error for a name that nothing here has, with those most like it."""
        names = [quoted(*(a.qualifier[-1:] if len(parts) > 1 else ()), a.name) for a in self.visible]
        like = nearest(quoted(*parts), names, _SUGGESTIONS)
        proposed = (like + [n for n in names if n not in like])[:_SUGGESTIONS]
        what = f"a column, variable, or function parameter with name {quoted(*parts)} cannot be resolved"
        if not proposed:
            return AnalysisException(
                f"{what}; there are no columns here",
                "UNRESOLVED_COLUMN.WITHOUT_SUGGESTION",
                {"objectName": quoted(*parts)},
            )
        return AnalysisException(
            f"{what}. Did you mean one of the following? [{', '.join(proposed)}]",
            "UNRESOLVED_COLUMN.WITH_SUGGESTION",
            {"objectName": quoted(*parts), "proposal": ", ".join(proposed)},
        )

    # --- Parts of values --------------------------------------------------------------------------------------------

    def field(self, base: exp.Expression, name: str) -> exp.Expression:
        """``base.name``: a field of a struct, a key of a map, or that field of every struct in an array."""
        kind = self._type_of(base)
        match kind:
            case StructType(fields):
                return exp.Dot(this=base, expression=_identifier(self._field_name(fields, name), name))
            case MapType():
                return _shown(
                    exp.Bracket(this=base, expressions=[exp.Literal.string(name)]), f"{pretty(base)}[{name}]"
                )
            case ArrayType(StructType(fields)):
                return self._fields_of(base, self._field_name(fields, name), name)
            case None:
                return exp.Dot(this=base, expression=_identifier(name, name))
        raise AnalysisException(
            f'cannot extract a value from "{pretty(base)}": field {name!r} was asked of a value of type '
            f'"{kind.simpleString().upper()}", which has no fields; only structs, maps and arrays of structs have',
            "INVALID_EXTRACT_BASE_FIELD_TYPE",
        )

    def _type_of(self, e: exp.Expression) -> DataType | None:
        """None where the type is known only inside a lambda or an aggregate."""
        if isinstance(e, Ref):
            found = self.types().get(e.attribute_id)
            return found.type if found else None
        if _over_lambda(e) or e.find(exp.Lambda):
            return None
        if function_name(e) in WINDOW_CALLS:
            return WINDOW_STRUCT
        try:
            return self.typed(e).type
        except AnalysisException:
            return None

    def _field_name(self, fields: Sequence[object], name: str) -> str:
        names = [f.name for f in fields]  # type: ignore[attr-defined]
        found = [n for n in names if self.same(n, name)]
        if len(found) == 1:
            return found[0]
        listed = ", ".join(quoted(n) for n in names)
        if found:
            raise AnalysisException(
                f"ambiguous reference to the field {quoted(name)}: it appears {len(found)} times in {listed}",
                "AMBIGUOUS_REFERENCE_TO_FIELDS",
            )
        like = nearest(name, names)
        hint = f"; did you mean {like[0]!r}?" if like else ""
        raise AnalysisException(
            f"no such struct field {quoted(name)} in {listed}{hint}",
            "FIELD_NOT_FOUND",
            {"fieldName": quoted(name), "fields": listed},
        )

    def _fields_of(self, base: exp.Expression, field: str, written: str) -> exp.Expression:
        shown = f"{pretty(base)}.{written}"
        body = exp.Dot(this=exp.to_identifier("each"), expression=exp.to_identifier(field))
        each = exp.Lambda(this=body, expressions=[exp.to_identifier("each")])
        return _shown(exp.Anonymous(this="transform", expressions=[base, each]), shown)

    def _element(self, e: exp.Bracket) -> exp.Expression:
        index = e.expressions[0]
        if isinstance(index, exp.Literal) and index.is_string:
            kind = self._type_of(e.this)
            if isinstance(kind, StructType) or (
                isinstance(kind, ArrayType) and isinstance(kind.elementType, StructType)
            ):
                return self.field(e.this, str(index.this))
        return e

    def _window_time(self, e: exp.Expression) -> exp.Expression:
        window = e.expressions[0] if len(e.expressions) == 1 else exp.Null()
        kind = self._type_of(window)
        if not (isinstance(kind, StructType) and [f.name for f in kind.fields] == ["start", "end"]):
            raise AnalysisException(
                f'cannot resolve "{pretty(e)}" due to data type mismatch: window_time takes one window column, as '
                "window(time, '1 minute') makes it",
                "DATATYPE_MISMATCH.UNEXPECTED_INPUT_TYPE",
            )
        return last_instant(window)


def last_instant(window: exp.Expression) -> exp.Expression:
    """``window_time(window)``: a window's end is not part of it, so its time is a microsecond before."""
    end = exp.Dot(this=window.copy(), expression=exp.to_identifier("end", quoted=True))
    microsecond = exp.Interval(this=exp.Literal.string("0.000001"), unit=exp.Var(this="SECOND"))
    made = _shown(exp.Sub(this=end, expression=microsecond), f"window_time({pretty(window)})")
    made.meta[TIME_OF] = True
    return made


def _identifier(name: str, written: str) -> exp.Expression:
    made = exp.to_identifier(name, quoted=True)
    if name != written:
        made.meta[NAMED] = written
    return made


def _shown(e: exp.Expression, text: str) -> exp.Expression:
    e.meta[NAMED] = text
    return e


def _long_path(e: exp.Dot) -> list[str]:
    """The parts of a name of five or more, which SQLGlot keeps as dots over a column of four; else nothing."""
    tail: list[str] = []
    node: exp.Expression = e
    while isinstance(node, exp.Dot) and isinstance(node.expression, exp.Identifier):
        tail.insert(0, node.expression.name)
        node = node.this
    if isinstance(node, exp.Column) and node.args.get("catalog"):
        return [*(p.name for p in node.parts), *tail]
    return []


def _over_lambda(e: exp.Expression) -> bool:
    """Whether a value is made of a lambda's parameter: an identifier that names neither a field nor an alias."""
    for node in e.walk():
        if not isinstance(node, exp.Identifier):
            continue
        parent = node.parent if node is not e else None
        if isinstance(parent, (exp.Dot, exp.Alias, exp.ColumnDef)) and (
            node.arg_key != "this" or isinstance(parent, exp.ColumnDef)
        ):
            continue
        return True
    return False


def _has_fields(kind: DataType | None) -> bool:
    return isinstance(kind, (StructType, MapType)) or (
        isinstance(kind, ArrayType) and isinstance(kind.elementType, StructType)
    )


def _distinct(found: Iterable[Attribute]) -> list[Attribute]:
    return list({a.id: a for a in found}.values())
