"""SELECT lists: stars, names, lateral aliases, generators and time windows, as a projection over what they need."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from sqlglot import exp

from tidemill.errors import AnalysisException
from tidemill.plan.dialect import function_name
from tidemill.plan.expressions import Settings, has_aggregate, is_generator
from tidemill.plan.generators import generator_outputs
from tidemill.plan.hidden import expose
from tidemill.plan.names import NAMED, pretty
from tidemill.plan.nodes import Attribute, Generate, Named, Node, Project, Ref
from tidemill.plan.resolve import Scope, nodes_of, quoted, refs
from tidemill.plan.windows import event_delay, extract
from tidemill.types import StructType

_CAST_CALLS = (
    "boolean", "tinyint", "smallint", "int", "bigint", "float", "double", "decimal", "date", "timestamp", "binary",
    "string",
)  # fmt: skip
"""Functions that are casts: ``int(a)`` is called ``a``, as ``CAST(a AS INT)`` is."""


@dataclass(frozen=True)
class Item:
    """One entry of a SELECT list: resolved, and named as far as the user or its form names it."""

    expression: exp.Expression
    names: tuple[str, ...]
    """More than one for a generator's ``AS (k, v)``; none for a generator without an alias."""
    aliased: bool = False


# --- Stars ----------------------------------------------------------------------------------------------------------


def expand_stars(items: Sequence[exp.Expression], scope: Scope) -> list[exp.Expression]:
    """The items with ``*``, ``t.*`` and ``struct.*`` replaced by columns, in calls such as ``struct(*)`` too."""
    found: list[exp.Expression] = []
    for item in items:
        star = _star(item)
        found += _columns(star, scope) if star is not None else [_expand_inside(item, scope)]
    return found


def _star(e: exp.Expression) -> tuple[list[str], exp.Star] | None:
    if isinstance(e, exp.Star):
        return [], e
    if isinstance(e, exp.Column) and isinstance(e.this, exp.Star):
        return [p.name for p in e.parts[:-1]], e.this
    if isinstance(e, exp.Dot) and isinstance(e.expression, exp.Star):
        raise AnalysisException(
            f"can only star expand a named struct: give {e.this.sql()} a name in a select below, then write name.*"
        )
    return None


def _expand_inside(e: exp.Expression, scope: Scope) -> exp.Expression:
    if not any(isinstance(n, exp.Star) for n in e.walk()):
        return e
    made = e.copy()
    for called in list(made.find_all(exp.Anonymous)):
        stars = [_star(a) for a in called.expressions]
        if not any(stars) or (function_name(called) == "count" and stars == [([], called.expressions[0])]):
            continue
        if function_name(called) == "count" and stars[0] is not None:
            name = quoted(*stars[0][0])
            raise AnalysisException(
                f"count({name}.*) is not allowed; use count(*) or name the columns, e.g. count(col1, col2)",
                "INVALID_USAGE_OF_STAR_WITH_TABLE_IDENTIFIER_IN_COUNT",
            )
        called.set("expressions", expand_stars(called.expressions, scope))
    return made


def _columns(star: tuple[list[str], exp.Star], scope: Scope) -> list[exp.Expression]:
    qualifier, node = star
    for option in ("replace", "rename"):
        if node.args.get(option):
            raise AnalysisException(
                f"* {option.upper()} is not supported; write the columns out, or use withColumn",
                "UNSUPPORTED_FEATURE",
            )
    found = _star_columns(qualifier, scope)
    dropped = [e.name for e in (node.args.get("except_") or node.args.get("except") or [])]
    for name in dropped:
        if not any(scope.same(name, _name_of(f)) for f in found):
            raise scope.unknown([name])
    return [f for f in found if not any(scope.same(d, _name_of(f)) for d in dropped)]


def _name_of(e: exp.Expression) -> str:
    return str(e.this) if isinstance(e, Ref) else e.expression.name


def _star_columns(qualifier: list[str], scope: Scope) -> list[exp.Expression]:
    if not qualifier:
        return [a.ref() for a in scope.visible]
    of = [a for a in scope.visible if any(scope.same(q, qualifier[-1]) for q in a.qualifier)]
    if of and len(qualifier) == 1:
        return [a.ref() for a in of]
    try:
        base = scope.column(qualifier)
    except AnalysisException:
        base = None
    kind = scope.typed(base).type if base is not None else None
    if base is None or not isinstance(kind, StructType):
        known = sorted({q for a in scope.visible for q in a.qualifier})
        raise AnalysisException(
            f"cannot resolve '{'.'.join(qualifier)}.*': there is no table, alias or struct column of that name; "
            f"known are [{', '.join(quoted(k) for k in known)}]",
            "CANNOT_RESOLVE_STAR_EXPAND",
        )
    found: list[exp.Expression] = []
    for field in kind.fields:
        part = exp.Dot(this=base.copy(), expression=exp.to_identifier(field.name, quoted=True))
        part.meta[NAMED] = field.name
        found.append(part)
    return found


# --- Names ----------------------------------------------------------------------------------------------------------


def read_item(e: exp.Expression, scope: Scope) -> Item:
    """Resolves one entry (no star) and finds its name."""
    if isinstance(e, exp.Aliases):
        return Item(scope.resolve(e.this), tuple(i.name for i in e.expressions), True)
    if isinstance(e, exp.Alias):
        return Item(_bare(scope.resolve(e.this)), (e.alias,), True)
    resolved = _bare(scope.resolve(e))
    if is_generator(resolved):
        return Item(resolved, ())
    return Item(resolved, (item_name(e, resolved),))


def _bare(e: exp.Expression) -> exp.Expression:
    while isinstance(e, exp.Paren):
        e = e.this
    if isinstance(e, exp.Tuple):
        pairs = [p for i in e.expressions for p in (exp.Literal.string(item_name(i, i)), i)]
        return exp.Anonymous(this="named_struct", expressions=pairs)
    return e


def item_name(written: exp.Expression, resolved: exp.Expression) -> str:
    """The name that Spark gives to an entry without an alias."""
    while isinstance(written, exp.Paren):
        written = written.this
    if isinstance(written, exp.Column):
        return str(written.parts[-1].name)
    if isinstance(written, exp.Dot) and written.find(Ref) and isinstance(written.this, Ref):
        return written.expression.name if NAMED in written.meta else pretty(resolved)
    if isinstance(written, (exp.Cast, exp.TryCast)) and isinstance(written.this, (exp.Column, Ref)):
        return item_name(written.this, resolved.this)
    if (
        function_name(written) in _CAST_CALLS
        and len(written.expressions) == 1
        and isinstance(written.expressions[0], (exp.Column, Ref))
    ):
        return item_name(written.expressions[0], resolved.expressions[0])
    if function_name(resolved) in ("window", "session_window"):
        return function_name(resolved)
    if isinstance(resolved, exp.Dot) and function_name(resolved.this) in ("window", "session_window"):
        return f"{function_name(resolved.this)}.{resolved.expression.name}"
    return pretty(resolved)


# --- Projections ----------------------------------------------------------------------------------------------------


def project(child: Node, items: Sequence[exp.Expression], settings: Settings) -> Node:
    """``select``: one output column per item, after stars; aggregates make it a global aggregation, as in
    ``df.select(F.count('*'))``; generators and time windows make the nodes that they need below."""
    scope = Scope.over(child, settings)
    expanded = expand_stars(items, scope)
    if any(has_aggregate(i) for i in expanded):
        from tidemill.plan.groups import aggregate  # it projects through here

        return aggregate(child, [], expanded, settings)
    return projected(child, expanded, scope)


def projected(child: Node, items: Sequence[exp.Expression], scope: Scope) -> Node:
    """A Project of entries without stars or aggregates over ``child``."""
    read: list[Item] = []
    base = child
    for written in items:
        base, scope, item = _with_laterals(base, scope, read, written)
        read.append(item)
    base = _exposed(base, read)
    windowed = extract(base, [i.expression for i in read], scope)
    base = windowed.node
    read = [replace(i, expression=e) for i, e in zip(read, windowed.expressions, strict=True)]
    named: list[Named] = []
    for item in read:
        scope = replace(scope, visible=base.output)
        base, made = _generated(base, item, scope)
        named += made if made is not None else [name_expression(item, scope)]
    return Project(base, unique(named))


def _exposed(base: Node, read: Sequence[Item]) -> Node:
    """The far side's keys of a USING join come back into view where an item names them."""

    wanted = set().union(*(refs(i.expression) for i in read)) if read else set()
    return expose(base, wanted)


def _with_laterals(
    base: Node, scope: Scope, read: list[Item], written: exp.Expression
) -> tuple[Node, Scope, Item]:
    """Reads an entry; one that names an earlier entry's alias has that entry computed in a projection below."""
    try:
        return base, scope, read_item(written, scope)
    except AnalysisException as error:
        if not (error.condition or "").startswith("UNRESOLVED_COLUMN"):
            raise
        aliased = {i.names[0]: n for n, i in enumerate(read) if i.aliased and len(i.names) == 1}
        laterals = {name: Ref(this=name, id=-n - 1) for name, n in aliased.items()}
        item = read_item(written, replace(scope, aliases=laterals))
    for n in sorted({-i - 1 for i in refs(item.expression) if i < 0}):
        base, scope, made = _computed_below(base, scope, read, n)
        item = replace(item, expression=_pointed(item.expression, -n - 1, made))
    return base, scope, item


def _pointed(e: exp.Expression, old: int, new: Attribute) -> exp.Expression:
    def point(node: exp.Expression) -> exp.Expression:
        if isinstance(node, Ref) and node.attribute_id == old:
            made = new.ref()
            made.meta.update(node.meta)
            return made
        return node

    return e.transform(point)


def _computed_below(base: Node, scope: Scope, read: list[Item], n: int) -> tuple[Node, Scope, Attribute]:
    item = read[n]
    if isinstance(item.expression, Ref):
        attribute = next(a for a in (*scope.visible, *scope.hidden) if a.id == item.expression.attribute_id)
        return base, scope, attribute
    windowed = extract(base, [item.expression], scope)
    scope = replace(scope, visible=windowed.node.output)
    named = name_expression(replace(item, expression=windowed.expressions[0]), scope)
    below = Project(windowed.node, (*(Named(a, a.ref()) for a in windowed.node.output), named))
    read[n] = replace(item, expression=named.attribute.ref())
    return below, replace(scope, visible=below.output), named.attribute


def name_expression(item: Item, scope: Scope) -> Named:
    """The output column of an entry. A column that keeps its name keeps its identity, so ``df['a']`` still means it."""
    e, name = item.expression, item.names[0]
    if len(item.names) != 1:
        raise _alias_count(item, 1)
    _refuse_nested(e)
    if isinstance(e, Ref) and not item.aliased:
        known = next(a for a in (*scope.visible, *scope.hidden) if a.id == e.attribute_id)
        return Named(known if known.name == name else replace(known, name=name), e)
    typed = scope.typed(e)
    return Named(Attribute(name, typed.type, typed.nullable, delay=event_delay(e, scope)), e)


def unique(named: Sequence[Named]) -> tuple[Named, ...]:
    """A column that is selected twice gets an identity of its own the second time."""
    seen: set[int] = set()
    found: list[Named] = []
    for item in named:
        again = item.attribute.id in seen
        seen.add(item.attribute.id)
        found.append(Named(item.attribute.renewed(), item.expression) if again else item)
    return tuple(found)


def _refuse_nested(e: exp.Expression) -> None:
    for node in nodes_of(e):
        if function_name(node) in ("grouping", "grouping_id"):
            raise AnalysisException(
                "grouping()/grouping_id() can only be used with GroupingSets/Cube/Rollup; group by those",
                "UNSUPPORTED_GROUPING_EXPRESSION",
            )
        if node is not e and is_generator(node):
            raise AnalysisException(
                f'the generator is not supported: nested in expressions "{pretty(e)}"; select it on its own first',
                "UNSUPPORTED_GENERATOR.NESTED_IN_EXPRESSIONS",
            )


# --- Generators -----------------------------------------------------------------------------------------------------


def _generated(base: Node, item: Item, scope: Scope) -> tuple[Node, list[Named] | None]:
    if not is_generator(item.expression):
        return base, None
    node = generate(base, item.expression, item.names, scope)
    return node, [Named(a, a.ref()) for a in node.made]


def generate(
    base: Node,
    e: exp.Expression,
    names: Sequence[str],
    scope: Scope,
    outer: bool = False,
    qualifier: str = "",
) -> Generate:
    """A Generate node for a resolved generator call; ``names`` rename its columns, all of them or none."""
    for argument in e.expressions:
        _refuse_nested_argument(argument)
    assert isinstance(e, exp.Anonymous)
    _check_arity(e)
    outputs = generator_outputs(e, scope.types(), scope.settings)
    if names and len(names) != len(outputs):
        raise _alias_count(Item(e, tuple(names)), len(outputs))
    outer = outer or function_name(e).endswith("_outer")
    certain = set() if outer else {"pos", "key"}
    made = tuple(
        Attribute(
            names[i] if names else name,
            kind,
            nullable=name not in certain or function_name(e) in ("inline", "stack"),
            qualifier=(qualifier,) if qualifier else (),
        )
        for i, (name, kind) in enumerate(outputs)
    )
    return Generate(base, e, made, outer)


def _check_arity(e: exp.Anonymous) -> None:
    given, name = len(e.expressions), function_name(e)
    wanted = {"stack": "a number of rows and their values", "json_tuple": "a text and some field names"}.get(
        name, "1 argument"
    )
    if given < 2 if name in ("stack", "json_tuple") else given != 1:
        raise AnalysisException(
            f"`{name}` requires {wanted}, but the actual number of arguments is {given}",
            "WRONG_NUM_ARGS.WITHOUT_SUGGESTION",
        )


def _refuse_nested_argument(e: exp.Expression) -> None:
    if is_generator(e) or any(is_generator(n) for n in nodes_of(e)):
        raise AnalysisException(
            f'the generator is not supported: nested in another generator, "{pretty(e)}"; select it on its own first',
            "UNSUPPORTED_GENERATOR.NESTED_IN_EXPRESSIONS",
        )


def _alias_count(item: Item, made: int) -> AnalysisException:
    return AnalysisException(
        f"the number of aliases supplied in the AS clause does not match the number of columns output: "
        f'"{pretty(item.expression)}" makes {made} column(s), the aliases are {", ".join(item.names) or "none"}',
        "UDTF_ALIAS_NUMBER_MISMATCH",
    )
