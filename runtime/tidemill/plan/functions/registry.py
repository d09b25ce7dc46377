"""The table of functions: what a name in a Spark program means.

An entry is data where it can be: a signature (``"string, int? -> string"``) and a template of DuckDB SQL. What needs
thought is a function over a `Call`. An entry's kind says what computes it:

- ``native``: DuckDB's own function or an expression of some; stays vectorised
- ``kernel``: a Python function over Arrow columns, for every row
- ``special``: rendered by code from its arguments' types and literals
- ``aggregate``, ``window``, ``generator``: as Spark calls them
- ``planned``: known here, resolved by the analysis (window(), grouping(), ...)
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from sqlglot import exp

from tidemill.errors import AnalysisException, nearest
from tidemill.plan import coercion
from tidemill.plan.casts import cast, sql_name
from tidemill.plan.rendering import let
from tidemill.plan.typed import Settings, Typed, cast_sql, duck_type
from tidemill.types import (
    ArrayType,
    AtomicType,
    BinaryType,
    BooleanType,
    ByteType,
    DataType,
    DateType,
    DecimalType,
    DoubleType,
    FloatType,
    IntegerType,
    IntegralType,
    LongType,
    MapType,
    NullType,
    NumericType,
    ShortType,
    StringType,
    StructType,
    TimestampNTZType,
    TimestampType,
)

if TYPE_CHECKING:
    from tidemill.plan.aggregates import AggregateSpec
    from tidemill.plan.compiler import Compiler

Kind = Literal["native", "kernel", "special", "aggregate", "window", "generator", "planned"]


@dataclass(frozen=True)
class Function:
    """One entry. ``render`` gives a scalar; ``aggregate`` the specification of an aggregate."""

    name: str
    kind: Kind
    render: Callable[[Call], Typed] | None = None
    aggregate: Callable[[Call], AggregateSpec] | None = None
    arity: tuple[int, int | None] = (0, None)
    deterministic: bool = True


FUNCTIONS: dict[str, Function] = {}


@dataclass
class Call:
    """One call being compiled: its arguments as trees, compiled on demand."""

    name: str
    nodes: Sequence[exp.Expression]
    compiler: Compiler

    def __post_init__(self) -> None:
        self._compiled: dict[int, Typed] = {}

    @property
    def settings(self) -> Settings:
        return self.compiler.settings

    def __len__(self) -> int:
        return len(self.nodes)

    def arg(self, index: int) -> Typed:
        if index not in self._compiled:
            self._compiled[index] = self.compiler.compile(self.nodes[index])
        return self._compiled[index]

    @property
    def args(self) -> list[Typed]:
        return [self.arg(i) for i in range(len(self.nodes))]

    def coerced(self, index: int, to: DataType) -> Typed:
        """An argument under Spark's implicit casts."""
        return implicit(self.arg(index), to, self, index)

    def literal(self, index: int, default: Any = None) -> Any:
        """The value of an argument that must be a literal; ``default`` where it is not given."""
        if index >= len(self.nodes):
            return default
        found = self.arg(index)
        if found.value is None and not isinstance(found.type, NullType):
            raise AnalysisException(
                f"argument {index + 1} of {self.name}() must be a constant, not an expression; write its value out",
                "DATATYPE_MISMATCH.NON_FOLDABLE_INPUT",
            )
        return found.value

    def same_type(self, indexes: Sequence[int] | None = None) -> list[Typed]:
        """Arguments brought to their common type."""
        chosen = [self.arg(i) for i in (range(len(self.nodes)) if indexes is None else indexes)]
        kind = coercion.common_of([a.type for a in chosen], self.settings.ansi)
        if kind is None:
            raise self.mismatch("have one type", chosen)
        return [cast(a, kind, self.settings) for a in chosen]

    def mismatch(self, wanted: str, given: Sequence[Typed] | None = None) -> AnalysisException:
        if given is None:
            given = [self.arg(n) for n, node in enumerate(self.nodes) if not isinstance(node, exp.Lambda)]
        types = ", ".join(sql_name(a.type) for a in given)
        return AnalysisException(
            f"cannot resolve {self.name}({types}): its arguments must {wanted}; cast them first",
            "DATATYPE_MISMATCH.DATA_DIFF_TYPES"
            if wanted == "have one type"
            else "DATATYPE_MISMATCH.UNEXPECTED_INPUT_TYPE",
        )

    def lambda_over(self, index: int, *kinds: Typed) -> tuple[list[str], Typed]:
        """A lambda argument compiled with its parameters typed as ``kinds`` (their names are made here)."""
        return self.compiler.compile_lambda(self, self.nodes[index], kinds)


# --- implicit casts -------------------------------------------------------------------------------------------------


def implicit(value: Typed, to: DataType, call: Call, index: int) -> Typed:
    """Spark's implicit cast of a function's argument; refuses where Spark would."""
    kind = value.type
    if kind == to or isinstance(kind, NullType):
        return cast(value, to, call.settings)
    allowed = (
        isinstance(kind, NumericType) and isinstance(to, NumericType)
        or isinstance(kind, StringType) and isinstance(to, AtomicType)
        or isinstance(to, StringType) and isinstance(kind, AtomicType) and (
            not isinstance(kind, BinaryType) or not call.settings.ansi)
        or isinstance(kind, (DateType, TimestampType, TimestampNTZType))
        and isinstance(to, (DateType, TimestampType, TimestampNTZType))
        or isinstance(kind, ArrayType) and isinstance(to, ArrayType)
        or isinstance(kind, MapType) and isinstance(to, MapType)
    )  # fmt: skip
    if not allowed:
        raise AnalysisException(
            f"argument {index + 1} of {call.name}() must be {sql_name(to)}, not {sql_name(kind)}; cast it first",
            "DATATYPE_MISMATCH.UNEXPECTED_INPUT_TYPE",
        )
    return cast(value, to, call.settings)


# --- signatures -----------------------------------------------------------------------------------------------------

_ATOMS: dict[str, DataType] = {
    "string": StringType(), "binary": BinaryType(), "boolean": BooleanType(), "byte": ByteType(), "short": ShortType(),
    "int": IntegerType(), "bigint": LongType(), "float": FloatType(), "double": DoubleType(), "date": DateType(),
    "timestamp": TimestampType(), "timestamp_ntz": TimestampNTZType(),
}  # fmt: skip
_CLASSES: dict[str, tuple[type[DataType], ...]] = {
    "any": (DataType,), "number": (NumericType,), "integral": (IntegralType,), "array": (ArrayType,), "map": (MapType,),
    "struct": (StructType,), "decimal": (DecimalType,),
}  # fmt: skip


@dataclass(frozen=True)
class Signature:
    """``arguments`` are names of types; '?' marks an optional one, '*' that the last repeats from none on."""

    arguments: tuple[str, ...]
    result: str

    @classmethod
    def parse(cls, text: str) -> Signature:
        left, _, right = text.partition("->")
        return cls(tuple(a.strip() for a in left.split(",") if a.strip()), right.strip())

    @property
    def arity(self) -> tuple[int, int | None]:
        least = sum(1 for a in self.arguments if a[-1] not in "?*")
        return least, None if self.arguments and self.arguments[-1].endswith("*") else len(self.arguments)

    def expected(self, index: int) -> str:
        return self.arguments[min(index, len(self.arguments) - 1)].rstrip("?*")

    def arguments_of(self, call: Call) -> list[Typed]:
        return [self._argument(call, i) for i in range(len(call))]

    def _argument(self, call: Call, index: int) -> Typed:
        expected = self.expected(index)
        if expected in _ATOMS:
            return call.coerced(index, _ATOMS[expected])
        found = call.arg(index)
        if expected in ("number", "integral") and isinstance(found.type, (StringType, NullType)):
            return call.coerced(index, DoubleType() if expected == "number" else LongType())
        if not isinstance(found.type, (*_CLASSES[expected], NullType)):
            raise AnalysisException(
                f"argument {index + 1} of {call.name}() must be {expected}, not {sql_name(found.type)}; "
                "cast it or pass another column",
                "DATATYPE_MISMATCH.UNEXPECTED_INPUT_TYPE",
            )
        return found

    def result_of(self, arguments: Sequence[Typed]) -> DataType:
        if self.result in _ATOMS:
            return _ATOMS[self.result]
        if self.result.isdigit():
            return arguments[int(self.result)].type
        if self.result.startswith("array<"):
            inner = self.result[6:-1]
            return ArrayType(_ATOMS[inner] if inner in _ATOMS else arguments[int(inner)].type)
        raise ValueError(f"unknown result {self.result!r}")


def define(
    names: str,
    signature: str,
    template: str | dict[int, str],
    kind: Kind = "native",
    nullable: bool | None = None,
    deterministic: bool = True,
    once: bool = True,
) -> None:
    """Add a function whose SQL is a template: ``{0}`` is the first argument, ``{args}`` all of them.

    ``template`` may go by the number of arguments. ``once``: an argument that the template repeats is evaluated once.
    ``nullable`` None: null where an argument is.
    """
    parsed = Signature.parse(signature)

    def render(call: Call) -> Typed:
        arguments = parsed.arguments_of(call)
        chosen = template if isinstance(template, str) else template[len(arguments)]
        result = parsed.result_of(arguments)
        sql = cast_sql(fill(chosen, [a.sql for a in arguments]), result)
        can_be_null = any(a.nullable for a in arguments) if nullable is None else nullable
        return Typed(sql, result, can_be_null)

    for name in names.split():
        add(Function(name, kind, render=render, arity=parsed.arity, deterministic=deterministic))


def fill(template: str, arguments: Sequence[str]) -> str:
    """``template`` with its arguments; those that it repeats are bound first where they are long or volatile."""

    def rest(index: int, done: tuple[str, ...]) -> str:
        if index == len(arguments):
            return template.format(*done, args=", ".join(done))
        sql = arguments[index]
        if template.count(f"{{{index}}}") > 1:
            return let(sql, lambda x: rest(index + 1, (*done, x)))
        return rest(index + 1, (*done, sql))

    return rest(0, ())


def special(
    names: str, least: int = 0, most: int | None = None, kind: Kind = "special", deterministic: bool = True
) -> Callable[[Callable[[Call], Typed]], Callable[[Call], Typed]]:
    """Make a function over a `Call` the renderer of ``names``."""

    def adder(render: Callable[[Call], Typed]) -> Callable[[Call], Typed]:
        for name in names.split():
            add(Function(name, kind, render=render, arity=(least, most), deterministic=deterministic))
        return render

    return adder


def aggregate(
    names: str, least: int = 1, most: int | None = 1, deterministic: bool = True
) -> Callable[[Any], Any]:
    """Make a function from a `Call` to an `AggregateSpec` the meaning of ``names``."""

    def adder(spec: Callable[[Call], AggregateSpec]) -> Callable[[Call], AggregateSpec]:
        for name in names.split():
            add(Function(name, "aggregate", aggregate=spec, arity=(least, most), deterministic=deterministic))
        return spec

    return adder


def add(function: Function) -> None:
    if function.name in FUNCTIONS:
        raise ValueError(f"function {function.name!r} is defined twice")
    FUNCTIONS[function.name] = function


def lookup(name: str) -> Function:
    """The entry of a name; `AnalysisException` with the nearest names if there is none."""
    found = FUNCTIONS.get(name.lower())
    if found is None:
        close = nearest(name, FUNCTIONS, 3)
        hint = f"; did you mean {' or '.join(repr(c) for c in close)}?" if close else ""
        raise AnalysisException(
            f"function {name!r} is not known{hint} docs/api-coverage.md lists all that are",
            "UNRESOLVED_ROUTINE",
            {"routineName": f"`{name}`"},
        )
    return found


def check_arity(function: Function, count: int) -> None:
    least, most = function.arity
    if count < least or (most is not None and count > most):
        wanted = f"{least}" if least == most else f"{least} or more" if most is None else f"{least} to {most}"
        raise AnalysisException(
            f"{function.name}() takes {wanted} arguments, not {count}", "WRONG_NUM_ARGS.WITHOUT_SUGGESTION"
        )


__all__ = ["FUNCTIONS", "Call", "Function", "add", "aggregate", "check_arity", "define", "duck_type", "fill", "lookup",
           "special"]  # fmt: skip
