"""One pass, bottom up, from a resolved SQLGlot tree to DuckDB SQL with a Spark type."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from sqlglot import exp

from tidemill.errors import AnalysisException, did_you_mean
from tidemill.kernel.udf import in_zone
from tidemill.plan.casts import cast, sql_name
from tidemill.plan.nodes import Ref
from tidemill.plan.typed import Settings, Typed, duck_type
from tidemill.types import DataType, TimestampType, parse_type

if TYPE_CHECKING:
    from tidemill.plan.functions.registry import Call


class UdfCall(exp.Expression):
    """A call of a user's function: ``this`` its name, ``udf`` the `UserFunction`, ``expressions`` its arguments."""

    arg_types = {"this": True, "udf": True, "expressions": False}  # noqa: RUF012


Handler = Callable[["Compiler", Any], Typed]
HANDLERS: dict[type[exp.Expression], Handler] = {}


def handles(*kinds: type[exp.Expression]) -> Callable[[Handler], Handler]:
    """Make a function the renderer of SQLGlot nodes of these classes."""

    def add(handler: Handler) -> Handler:
        for kind in kinds:
            HANDLERS[kind] = handler
        return handler

    return add


class Compiler:
    """Compiles trees over one set of columns."""

    def __init__(self, columns: Mapping[int, Typed], settings: Settings) -> None:
        self.columns = columns
        self.settings = settings
        self.scopes: list[dict[str, Typed]] = []

    def compile(self, node: exp.Expression) -> Typed:
        handler = HANDLERS.get(type(node))
        if handler is None:
            raise AnalysisException(
                f"{node.sql('spark')!r}: {type(node).__name__} is not supported in an expression",
                "UNSUPPORTED_EXPR",
            )
        return handler(self, node)

    def compile_lambda(
        self, call: Call, node: exp.Expression, parameters: Sequence[Typed]
    ) -> tuple[list[str], Typed]:
        """A lambda's body, and the names that its parameters got; fewer may be written than are given.

        A parameter whose SQL holds ``{}`` stands for that expression of its name.
        """
        if not isinstance(node, exp.Lambda):
            raise AnalysisException(
                f"{call.name}() takes a lambda like x -> x + 1 here, not {node.sql('spark')!r}",
                "INVALID_LAMBDA_FUNCTION_CALL.LAMBDA_EXPECTED",
            )
        written = [e.name for e in node.expressions]
        if len(written) > len(parameters):
            raise AnalysisException(
                f"the lambda of {call.name}() has {len(written)} parameters; it can take {len(parameters)}",
                "INVALID_LAMBDA_FUNCTION_CALL.NUM_ARGS_MISMATCH",
            )
        names = [f"l{len(self.scopes)}_{i}" for i in range(len(parameters))]
        scope = {
            w.lower(): Typed(p.sql.replace("{}", n) if "{}" in p.sql else n, p.type, p.nullable)
            for w, n, p in zip(written, names, parameters, strict=False)
        }
        self.scopes.append(scope)
        try:
            return names[: max(len(written), _LEAST_NAMES.get(call.name, 1))], self.compile(node.this)
        finally:
            self.scopes.pop()

    def variable(self, name: str) -> Typed | None:
        for scope in reversed(self.scopes):
            if name.lower() in scope:
                return scope[name.lower()]
        return None

    def boolean(self, node: exp.Expression) -> Typed:
        """A condition; strings are read as Spark reads them, anything else is refused."""
        from tidemill.types import BooleanType, NullType, StringType

        found = self.compile(node)
        if not isinstance(found.type, (BooleanType, NullType, StringType)):
            raise AnalysisException(
                f"{node.sql('spark')!r} is {sql_name(found.type)}, not a condition; compare it with a value",
                "DATATYPE_MISMATCH.FILTER_NOT_BOOLEAN",
            )
        return cast(found, BooleanType(), self.settings)


_LEAST_NAMES = {"aggregate": 2, "reduce": 2, "zip_with": 2, "map_filter": 2, "transform_values": 2, "transform_keys": 2,
                "map_zip_with": 3, "array_sort": 2}  # fmt: skip
"""Names that a renderer writes whether the lambda uses them or not."""


@handles(Ref)
def _ref(compiler: Compiler, node: Ref) -> Typed:
    return compiler.columns[node.attribute_id]


@handles(exp.Identifier, exp.Column)
def _name(compiler: Compiler, node: exp.Expression) -> Typed:
    found = compiler.variable(node.name) if not node.args.get("table") else None
    if found is None:
        known = {name for scope in compiler.scopes for name in scope}
        raise AnalysisException(
            f"a column or variable {node.sql('spark')} cannot be resolved{did_you_mean(node.name, known)}",
            "UNRESOLVED_COLUMN.WITHOUT_SUGGESTION",
        )
    return found


@handles(exp.Paren)
def _paren(compiler: Compiler, node: exp.Paren) -> Typed:
    return compiler.compile(node.this)


@handles(exp.Alias)
def _alias(compiler: Compiler, node: exp.Alias) -> Typed:
    return compiler.compile(node.this)


@handles(exp.Collate)
def _collate(compiler: Compiler, node: exp.Collate) -> Typed:
    if node.expression.name.upper() != "UTF8_BINARY":
        raise AnalysisException(
            f"collation {node.expression.name} is not supported; strings compare by their bytes (UTF8_BINARY)",
            "UNSUPPORTED_FEATURE.COLLATION",
        )
    return compiler.compile(node.this)


@handles(exp.Cast, exp.TryCast)
def _cast(compiler: Compiler, node: exp.Cast) -> Typed:
    to = written_type(node.args["to"])
    inner = node.this
    if isinstance(inner, exp.Literal) and not inner.is_string:
        direct = _typed_number(inner.this, to)
        if direct is not None:
            return direct
    return cast(compiler.compile(inner), to, compiler.settings, safe=isinstance(node, exp.TryCast))


def _typed_number(text: str, to: DataType) -> Typed | None:
    """``1L``, ``2S``, ``1.5D``: the parser gives a cast of a number; its value stays known."""
    from tidemill.types import DoubleType, FloatType, IntegralType

    if isinstance(to, (DoubleType, FloatType)):
        # As text: by way of a decimal, 17 digits would not come out as the double that they name.
        return Typed(f"CAST('{text}' AS {duck_type(to)})", to, False, float(text))
    if (
        isinstance(to, IntegralType)
        and text.lstrip("-").isdigit()
        and -(1 << (to.bits - 1)) <= int(text) < 1 << (to.bits - 1)
    ):
        return Typed(f"CAST({text} AS {duck_type(to)})", to, False, int(text))
    return None


def written_type(node: exp.Expression) -> DataType:
    """The type that a CAST names."""
    return parse_type(_type_text(node))


_TYPE_NAMES = {
    "TEXT": "string", "VARCHAR": "string", "CHAR": "string", "TIMESTAMPTZ": "timestamp", "TIMESTAMPLTZ": "timestamp",
    "TIMESTAMPNTZ": "timestamp_ntz", "VARBINARY": "binary", "BLOB": "binary",
}  # fmt: skip


def _type_text(node: exp.Expression) -> str:
    from tidemill.types import quoted

    if not isinstance(node, exp.DataType):
        return node.sql("spark")
    kind = node.this
    if isinstance(kind, exp.Interval):
        return f"interval {kind.args['unit'].sql('spark')}" if kind.args.get("unit") else "interval"
    name = kind.name if hasattr(kind, "name") else str(kind)
    if name == "INTERVAL":
        return "interval"
    if name == "USERDEFINED":
        return str(node.args.get("kind"))
    inner = node.expressions
    if name == "STRUCT":
        fields = [f"{quoted(f.this.name)}: {_type_text(f.args['kind'])}" for f in inner]
        return f"struct<{', '.join(fields)}>"
    if name in ("ARRAY", "MAP"):
        return f"{name.lower()}<{', '.join(_type_text(i) for i in inner)}>"
    base = _TYPE_NAMES.get(name, name.lower())
    if inner and base == "decimal":
        return f"{base}({', '.join(i.this.name for i in inner)})"
    return base


@handles(UdfCall)
def _udf(compiler: Compiler, node: UdfCall) -> Typed:
    function = in_zone(node.args["udf"], compiler.settings.time_zone)
    arguments = [compiler.compile(e) for e in node.expressions]
    passed = [_with_zone(a) for a in arguments] or ["true"]
    sql = f"{function.sql_name}({', '.join(passed)})"
    return Typed(sql, function.return_type, True)


def _with_zone(value: Typed) -> str:
    """A user's function tells instants from local times by the zone of their column."""
    if isinstance(value.type, TimestampType):
        return f"timezone('UTC', {value.sql})"
    zoned = duck_type(value.type, "TIMESTAMPTZ")
    return f"CAST({value.sql} AS {zoned})" if zoned != duck_type(value.type) else value.sql


@handles(exp.Anonymous)
def _call(compiler: Compiler, node: exp.Anonymous) -> Typed:
    from tidemill.plan.functions.registry import Call, check_arity, lookup

    function = lookup(str(node.this))
    if function.render is None:
        raise AnalysisException(
            f"{function.name}() is {_ARTICLE.get(function.kind, function.kind)} and cannot stand inside a scalar expression",
            "UNSUPPORTED_EXPR_FOR_OPERATOR",
        )
    if function.kind == "window":
        raise AnalysisException(
            f"{function.name}() needs a window; write {function.name}() OVER (ORDER BY ...)",
            "WINDOW_FUNCTION_WITHOUT_OVER_CLAUSE",
        )
    check_arity(function, len(node.expressions))
    return function.render(Call(function.name, node.expressions, compiler))


_ARTICLE = {
    "aggregate": "an aggregate",
    "generator": "a generator",
    "planned": "part of the plan (use it as an item of its own)",
}
