"""The name that Spark gives to a column that has none: ``count(1)``, ``(a + 1)``, ``CAST(x AS INT)``, ...

Works on resolved expressions before casts are inserted, since Spark does not show those either.
"""

from __future__ import annotations

from collections.abc import Callable

from sqlglot import exp

from tidemill.plan.compiler import UdfCall
from tidemill.plan.nodes import Ref

_BINARY: dict[type[exp.Expression], str] = {
    exp.Add: "+", exp.Sub: "-", exp.Mul: "*", exp.Div: "/", exp.Mod: "%", exp.IntDiv: "div", exp.EQ: "=",
    exp.NullSafeEQ: "<=>", exp.GT: ">", exp.GTE: ">=", exp.LT: "<", exp.LTE: "<=", exp.And: "AND", exp.Or: "OR",
    exp.BitwiseAnd: "&", exp.BitwiseOr: "|", exp.BitwiseXor: "^",
}  # fmt: skip

NAMED = "name"
"""Key of an expression's ``meta``: the text that a rewritten expression had as the user wrote it."""

# Functions that show themselves in capitals or with the defaults of arguments that were left out.
_CAPITALS = (
    "acos acosh asin asinh atan atan2 atanh cbrt cos cosh cot csc degrees dense_rank exp expm1 hypot log log10 log1p "
    "log2 percent_rank power radians rank rlike sec signum sin sinh sqrt tan tanh"
)
_SHOWN = {name: name.upper() for name in _CAPITALS.split()} | {
    "dateadd": "date_add",
    "curdate": "current_date",
}
_SHOWN |= {"array_agg": "collect_list"}
_FIRST_ONLY = (
    "first", "last", "any_value", "first_value", "last_value", "from_json", "from_csv", "from_avro", "to_json", "to_csv",
    "schema_of_json", "schema_of_csv", "approx_count_distinct",
)  # fmt: skip
"""Those that show their first argument and no other."""
_DEFAULTS: dict[str, tuple[int, tuple[str, ...]]] = {
    "split": (3, ("-1",)),
    "percentile_approx": (3, ("10000",)),
    "approx_percentile": (3, ("10000",)),
    "unix_timestamp": (2, ("yyyy-MM-dd HH:mm:ss",)),
    "from_unixtime": (2, ("yyyy-MM-dd HH:mm:ss",)),
    "locate": (3, ("1",)),
    "round": (2, ("0",)),
    "bround": (2, ("0",)),
    "regexp_replace": (4, ("1",)),
    "regexp_extract": (3, ("1",)),
    "regexp_extract_all": (3, ("1",)),
    "mask": (5, ("X", "x", "n", "NULL")),
    "substr": (3, ("2147483647",)),
    "substring": (3, ("2147483647",)),
    "lpad": (3, (" ",)),
    "rpad": (3, (" ",)),
    "to_unix_timestamp": (2, ("yyyy-MM-dd HH:mm:ss",)),
    "months_between": (3, ("true",)),
    "sort_array": (2, ("true",)),
    "percentile": (3, ("1",)),
    "listagg": (2, ("NULL",)),
    "str_to_map": (3, (",", ":")),
    "overlay": (4, ("-1",)),
    "lag": (3, ("1", "NULL")),
    "lead": (3, ("1", "NULL")),
}
"""Full number of arguments, and the last ones' defaults."""


def pretty(e: exp.Expression) -> str:
    """Spark's text of a resolved expression.

    >>> from tidemill.plan.dialect import parse_expression
    >>> pretty(parse_expression("sum(1 + 2) / count(*)"))
    '(sum((1 + 2)) / count(1))'
    """
    if NAMED in e.meta:
        return str(e.meta[NAMED])
    for kind, operator in _BINARY.items():
        if type(e) is kind:
            return _binary(e, operator)
    shown = _SHAPES.get(type(e))
    if shown is not None:
        return shown(e)
    return e.sql(dialect="spark")


def _binary(e: exp.Expression, operator: str) -> str:
    left, right = e.this, e.expression
    if operator in "+-" and isinstance(right, exp.Interval):
        return f"{pretty(left)} {operator} {_interval(right)}"
    return f"({pretty(left)} {operator} {pretty(right)})"


def _list(items: list[exp.Expression]) -> str:
    return ", ".join(pretty(i) for i in items)


def _identifier(e: exp.Expression) -> str:
    return "namedlambdavariable()" if _in_lambda(e) else str(e.this)


def _in_lambda(e: exp.Expression) -> bool:
    found = e.find_ancestor(exp.Lambda)
    return found is not None


def _literal(e: exp.Expression) -> str:
    text = str(e.this)
    if e.args.get("is_string") or text.isdigit():
        return text
    return repr(float(text)) if "e" in text.lower() else text


def _call(e: exp.Expression) -> str:
    written = str(e.this)
    name = written.lower()
    arguments = e.expressions
    if name == "extract" and len(arguments) == 2:
        return f"extract({pretty(arguments[0])} FROM {pretty(arguments[1])})"
    if name in ("isnull", "isnotnull") and len(arguments) == 1:
        return f"({pretty(arguments[0])} IS {'NOT ' if name == 'isnotnull' else ''}NULL)"
    if name in ("update_field", "drop_field"):
        change = f"WithField({pretty(arguments[2])})" if name == "update_field" else "dropfield()"
        return f"update_fields({pretty(arguments[0])}, {change})"
    if name == "positive":
        return f"(+ {_list(arguments)})"
    if name in ("ceil", "floor") and len(arguments) == 1:
        return f"{name.upper()}({_list(arguments)})"
    if name in _FIRST_ONLY:
        arguments = arguments[:1]
    if name in ("ltrim", "rtrim", "trim") and len(arguments) == 2:
        side = {"trim": "BOTH", "ltrim": "LEADING", "rtrim": "TRAILING"}[name]
        return f"TRIM({side} {pretty(arguments[0])} FROM {pretty(arguments[1])})"
    if name == "position":
        return f"locate({_list(arguments)}{', 1' if len(arguments) == 2 else ''})"
    texts = [_argument(a) for a in arguments]
    if name in ("aggregate", "reduce") and len(arguments) == 3:
        texts.append("lambdafunction(namedlambdavariable(), namedlambdavariable())")
    full, defaults = _DEFAULTS.get(name, (0, ()))
    texts += defaults[len(defaults) - max(0, full - len(texts)) :] if len(texts) < full else ()
    return f"{_SHOWN.get(name, name)}({', '.join(texts)})"


def _argument(e: exp.Expression) -> str:
    return "1" if isinstance(e, exp.Star) else pretty(e)


def _cast(e: exp.Expression) -> str:
    if "literal" in e.meta or _is_typed_literal(e):
        return _typed_literal(e)
    word = "TRY_CAST" if isinstance(e, exp.TryCast) else "CAST"
    return f"{word}({pretty(e.this)} AS {e.args['to'].sql(dialect='spark').upper()})"


def _is_typed_literal(e: exp.Expression) -> bool:
    """``DATE '2020-01-01'`` and ``TIMESTAMP '...'`` parse as casts of their texts; so do ``1L`` and ``1.5BD``."""
    to = e.args["to"].this
    literal = e.this
    if not isinstance(literal, exp.Literal):
        return False
    if literal.is_string:
        kinds = exp.DataType.Type
        return to in (kinds.DATE, kinds.TIMESTAMP, kinds.TIMESTAMPTZ, kinds.TIMESTAMPNTZ, kinds.TIMESTAMPLTZ)
    return False


def _typed_literal(e: exp.Expression) -> str:
    to = e.args["to"].this
    kinds = exp.DataType.Type
    if to == kinds.DATE:
        return f"DATE '{e.this.this}'"
    if to in (kinds.TIMESTAMP, kinds.TIMESTAMPTZ, kinds.TIMESTAMPLTZ):
        return f"TIMESTAMP '{e.this.this}'"
    if to == kinds.TIMESTAMPNTZ:
        return f"TIMESTAMP_NTZ '{e.this.this}'"
    return pretty(e.this)


def _interval(e: exp.Expression) -> str:
    value, unit = e.this, e.args.get("unit")
    name = unit.name.upper() if unit is not None else ""
    text = str(value.this) if isinstance(value, exp.Literal) else pretty(value)
    name = name.removesuffix("S") if not name.endswith("SS") else name
    if name in ("HOUR", "MINUTE") and text.isdigit():
        text = text.zfill(2)
    return f"INTERVAL '{text}' {name}".rstrip()


def _case(e: exp.Expression) -> str:
    subject = e.args.get("this")
    parts = ["CASE"]
    for branch in e.args["ifs"]:
        when = branch.this if subject is None else exp.EQ(this=subject.copy(), expression=branch.this.copy())
        parts.append(f"WHEN {pretty(when)} THEN {pretty(branch.args['true'])}")
    if e.args.get("default") is not None:
        parts.append(f"ELSE {pretty(e.args['default'])}")
    return " ".join([*parts, "END"])


def _between(e: exp.Expression) -> str:
    return f"between({_list([e.this, e.args['low'], e.args['high']])})"


def _in(e: exp.Expression) -> str:
    return f"({pretty(e.this)} IN ({_list(e.expressions)}))"


def _is(e: exp.Expression) -> str:
    return f"({pretty(e.this)} IS {pretty(e.expression)})"


def _not(e: exp.Expression) -> str:
    inner = e.this
    if isinstance(inner, exp.Is):
        return f"({pretty(inner.this)} IS NOT {pretty(inner.expression)})"
    return f"(NOT {pretty(inner)})"


def _negated(e: exp.Expression, text: str) -> str:
    """SQLGlot keeps the NOT of NOT LIKE inside."""
    return f"(NOT {text})" if e.args.get("negate") else text


def _window(e: exp.Expression) -> str:
    parts = []
    if e.args.get("partition_by"):
        parts.append(f"PARTITION BY {_list(e.args['partition_by'])}")
    order = e.args.get("order")
    if order is not None:
        parts.append(f"ORDER BY {_list(order.expressions)}")
    parts.append(_frame(e.args.get("spec"), order is not None, e.this))
    return f"{pretty(e.this)} OVER ({' '.join(parts)})"


_RANKING = ("row_number", "rank", "dense_rank", "percent_rank", "ntile")


def _frame(spec: exp.Expression | None, ordered: bool, function: exp.Expression) -> str:
    if spec is None:
        if isinstance(function, exp.Anonymous) and str(function.this).lower() in _RANKING:
            return "ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW"
        if ordered:
            return "RANGE BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW"
        return "ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING"
    bounds = []
    for side in ("start", "end"):
        bound = spec.args.get(side) or "CURRENT ROW"
        text = bound if isinstance(bound, str) else pretty(bound)
        bounds.append(f"{text} {spec.args.get(f'{side}_side') or ''}".strip())
    return f"{spec.args.get('kind') or 'ROWS'} BETWEEN {bounds[0]} AND {bounds[1]}".upper()


def _ordered(e: exp.Expression) -> str:
    descending = bool(e.args.get("desc"))
    first = e.args.get("nulls_first")
    first = (not descending) if first is None else bool(first)
    return f"{pretty(e.this)} {'DESC' if descending else 'ASC'} NULLS {'FIRST' if first else 'LAST'}"


def _lambda(e: exp.Expression) -> str:
    return f"lambdafunction({_list([e.this, *e.expressions])})"


def _column(e: exp.Expression) -> str:
    return ".".join(part.name for part in e.parts) if isinstance(e, exp.Column) else e.sql()


def _tuple(e: exp.Expression) -> str:
    return f"named_struct({', '.join(f'{pretty(i)}, {pretty(i)}' for i in e.expressions)})"


def _udf(e: exp.Expression) -> str:
    return f"{e.this}({_list(e.expressions)})"


_SHAPES: dict[type[exp.Expression], Callable[[exp.Expression], str]] = {
    Ref: lambda e: str(e.this),
    exp.Column: _column,
    exp.Identifier: _identifier,
    exp.Literal: _literal,
    exp.Null: lambda e: "NULL",
    exp.Boolean: lambda e: "true" if e.this else "false",
    exp.HexString: lambda e: f"X'{int(e.this):X}'" if str(e.this).isdigit() else f"X'{e.this}'",
    exp.Anonymous: _call,
    exp.Paren: lambda e: pretty(e.this),
    exp.Alias: lambda e: f"{pretty(e.this)} AS {e.alias}",
    exp.Dot: lambda e: f"{pretty(e.this)}.{e.expression.meta.get(NAMED, e.expression.name)}",
    exp.Bracket: lambda e: f"{pretty(e.this)}[{_list(e.expressions)}]",
    exp.Cast: _cast,
    exp.TryCast: _cast,
    exp.Interval: _interval,
    exp.Neg: lambda e: (
        f"(- {pretty(e.this)})" if not isinstance(e.this, exp.Literal) else f"-{pretty(e.this)}"
    ),
    exp.BitwiseNot: lambda e: f"~{pretty(e.this)}",
    exp.Not: _not,
    exp.NEQ: lambda e: f"(NOT ({pretty(e.this)} = {pretty(e.expression)}))",
    exp.Is: _is,
    exp.In: _in,
    exp.Between: _between,
    exp.Case: _case,
    exp.If: lambda e: (
        f"(IF({_list([e.this, e.args['true'], *([f] if (f := e.args.get('false')) else [])])}))"
    ),
    exp.DPipe: lambda e: f"concat({pretty(e.this)}, {pretty(e.expression)})",
    exp.Like: lambda e: _negated(e, f"{pretty(e.this)} LIKE {pretty(e.expression)}"),
    exp.ILike: lambda e: _negated(e, f"ilike({pretty(e.this)}, {pretty(e.expression)})"),
    exp.RegexpLike: lambda e: f"RLIKE({pretty(e.this)}, {pretty(e.expression)})",
    exp.Distinct: lambda e: f"DISTINCT {_list(e.expressions)}",
    exp.Filter: lambda e: f"{pretty(e.this)} FILTER (WHERE {pretty(e.expression.this)})",
    exp.IgnoreNulls: lambda e: pretty(e.this),
    exp.RespectNulls: lambda e: pretty(e.this),
    exp.Window: _window,
    exp.Ordered: _ordered,
    exp.Lambda: _lambda,
    exp.Tuple: _tuple,
    exp.Star: lambda e: "*",
    UdfCall: _udf,
}
