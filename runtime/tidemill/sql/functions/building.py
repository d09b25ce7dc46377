"""How the functions build their calls."""

from __future__ import annotations

import inspect
import itertools
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from sqlglot import exp

from tidemill.errors import PySparkTypeError, PySparkValueError
from tidemill.sql import literals
from tidemill.sql.arguments import wrong_type
from tidemill.sql.column import Column, ColumnOrName, named_tree, tree
from tidemill.types import DataType, StructType, ddl, parse_ddl

_variables = itertools.count(1)


def lit(col: Any) -> Column:
    """A value as a column; a column stays itself.

    >>> lit(5)
    Column<'5'>
    """
    return col if isinstance(col, Column) else Column(literals.literal(col))


def call(name: str, *arguments: Column | str | None) -> Column:
    """A call of the SQL function ``name``; a str is the name of a column, None an argument left out."""
    return Column(literals.call(name, [named_tree(a) for a in arguments if a is not None]))


def call_distinct(name: str, *arguments: ColumnOrName) -> Column:
    """``name(DISTINCT ...)``."""
    return call(name, distinct(*arguments))


def distinct(*arguments: ColumnOrName) -> Column:
    """``DISTINCT ...``, as it stands inside a call."""
    return Column(exp.Distinct(expressions=[named_tree(a) for a in arguments]))


def optional(value: Any) -> Column | None:
    """A literal, or nothing for None."""
    return None if value is None else lit(value)


def value(given: ColumnOrName | float) -> Column:
    """A column by its name, or a number as a literal."""
    return Column(named_tree(given)) if isinstance(given, (str, Column)) else lit(given)


def flat(columns: tuple[Any, ...]) -> Iterable[ColumnOrName]:
    """The columns of ``f(a, b)`` and of ``f([a, b])``."""
    return columns[0] if len(columns) == 1 and isinstance(columns[0], (list, set, tuple)) else columns


def function(f: Callable[..., Column]) -> Column:
    """A Python function of one to three columns as a SQL lambda: it is called once, with its variables."""
    parameters = inspect.signature(f).parameters.values()
    if any(p.kind not in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD) for p in parameters):
        raise PySparkValueError(
            f"Function `{f.__name__}` should use only POSITIONAL or POSITIONAL OR KEYWORD arguments.",
            "UNSUPPORTED_PARAM_TYPE_FOR_HIGHER_ORDER_FUNCTION",
        )
    if not 1 <= len(parameters) <= 3:
        raise PySparkValueError(
            f"Function `{f.__name__}` should take between 1 and 3 arguments, but provided function takes "
            f"{len(parameters)}.",
            "WRONG_NUM_ARGS_FOR_HIGHER_ORDER_FUNCTION",
        )
    # Fresh names: a lambda inside another one may use the outer variables too.
    names = [f"{letter}_{next(_variables)}" for letter in "xyz"[: len(parameters)]]
    result = f(*(Column(exp.to_identifier(n)) for n in names))
    if not isinstance(result, Column):
        raise PySparkValueError(
            f"Function `{f.__name__}` should return Column, got {type(result).__name__}.",
            "HIGHER_ORDER_FUNCTION_SHOULD_RETURN_COLUMN",
        )
    return Column(exp.Lambda(this=tree(result), expressions=[exp.to_identifier(n) for n in names]))


def schema_text(schema: DataType | Column | str) -> Column:
    """A schema as a DDL literal."""
    if isinstance(schema, Column):
        return schema
    if isinstance(schema, str):
        return lit(parse_ddl(schema).toDDL() if schema.lstrip().startswith("{") else schema)
    if isinstance(schema, StructType):
        return lit(schema.toDDL())
    if not isinstance(schema, DataType):
        wrong_type("schema", "Column, DataType or str", schema)
    return lit(ddl(schema))


def option_map(options: Mapping[str, Any] | None) -> Column | None:
    """Options as a map literal, or nothing."""
    if not options:
        return None
    if not isinstance(options, Mapping):
        raise PySparkTypeError(
            f"Argument `options` should be dict, got {type(options).__name__}.", "NOT_DICT"
        )
    texts = {k: str(v).lower() if isinstance(v, bool) else str(v) for k, v in options.items()}
    return Column(literals.literal(texts))
