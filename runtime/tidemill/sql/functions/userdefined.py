"""The user's own functions: per row (`udf`), and per batch over pandas or Arrow (`pandas_udf`, `arrow_udf`)."""

from __future__ import annotations

import functools
import typing
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from sqlglot import exp

from tidemill.errors import PySparkNotImplementedError, PySparkTypeError
from tidemill.plan.names import NAMED, pretty
from tidemill.sql.arguments import wrong_type
from tidemill.sql.column import Column, ColumnOrName, named_tree
from tidemill.sql.functions import adapters
from tidemill.types import DataType, StringType, parse_ddl, parse_type

if TYPE_CHECKING:
    from tidemill.kernel.udf import UdfKind, UserFunction


def return_type(kind: DataType | str) -> DataType:
    """A type from its DDL; ``a INT, b STRING`` is a struct."""
    if isinstance(kind, DataType):
        return kind
    if not isinstance(kind, str):
        wrong_type("returnType", "DataType or str", kind)
    try:
        return parse_type(kind)
    except Exception:
        return parse_ddl(kind)


class UserDefinedFunction:
    """A function of the user's, called with columns."""

    def __init__(
        self,
        func: Callable[..., Any],
        returnType: DataType | str = StringType(),
        kind: UdfKind = "python",
        name: str | None = None,
        deterministic: bool = True,
    ) -> None:
        if not callable(func):
            wrong_type("func", "callable", func)
        self.func = func
        self.returnType = return_type(returnType)
        self.kind = kind
        self._name: str = name or str(getattr(func, "__name__", type(func).__name__))
        self.deterministic = deterministic
        functools.update_wrapper(self, func, updated=())

    @functools.cached_property
    def function(self) -> UserFunction:
        """What the plan holds of it: one and the same in every call."""
        from tidemill.plan.expressions import UserFunction

        adapted = adapters.adapt(self._name, self.func, self.returnType, self.kind)
        return UserFunction(self._name, adapted, self.returnType, self.kind, self.deterministic)

    def __call__(self, *args: ColumnOrName) -> Column:
        return Column(self.tree([named_tree(a) for a in args]))

    def tree(self, arguments: list[exp.Expression]) -> exp.Expression:
        """A call with these arguments."""
        from tidemill.plan.expressions import UdfCall

        made = UdfCall(this=self._name, udf=self.function, expressions=arguments)
        made.meta[NAMED] = f"{self._name}({', '.join(map(pretty, arguments))})"
        return made

    def named(self, name: str) -> UserDefinedFunction:
        """The same function under the name by which SQL calls it."""
        return UserDefinedFunction(self.func, self.returnType, self.kind, name, self.deterministic)

    def asNondeterministic(self) -> UserDefinedFunction:
        """The same function, which may answer differently when called again with the same arguments."""
        return UserDefinedFunction(self.func, self.returnType, self.kind, self._name, False)


def udf(
    f: Callable[..., Any] | DataType | str | None = None,
    returnType: DataType | str = StringType(),
    *,
    useArrow: bool | None = None,
) -> Any:
    """A function of one row's values, STRING by default; also a decorator: ``@udf``, ``@udf("int")``.

    Rows go to it one by one, in batches over Arrow either way, so ``useArrow`` changes nothing.
    """
    if f is None or isinstance(f, (DataType, str)):
        kind = returnType if f is None else f
        return lambda function: UserDefinedFunction(function, kind)
    return UserDefinedFunction(f, returnType)


def pandas_udf(
    f: Callable[..., Any] | DataType | str | None = None,
    returnType: DataType | str | None = None,
    functionType: int | str | None = None,
) -> Any:
    """A function of pandas Series, one call per batch; also a decorator: ``@pandas_udf("double")``.

    Its type hints say what it is: Series to Series, or iterator of Series to iterator of Series; without hints it is
    Series to Series. Series to a scalar, an aggregate, is refused.
    """
    return _vectorised(f, returnType, "pandas", functionType)


def arrow_udf(
    f: Callable[..., Any] | DataType | str | None = None,
    returnType: DataType | str | None = None,
    functionType: int | str | None = None,
) -> Any:
    """A function of Arrow arrays, one call per batch; also a decorator: ``@arrow_udf("double")``."""
    return _vectorised(f, returnType, "arrow", functionType)


_GROUPED_AGG = (202, "grouped_agg", "GROUPED_AGG")
"""PySpark's number and names of a pandas aggregate."""


def _vectorised(f: Any, returnType: Any, kind: UdfKind, functionType: Any) -> Any:
    if f is None or isinstance(f, (DataType, str)):
        given = f if f is not None else returnType
        if given is None:
            raise PySparkTypeError("Missing required argument: `returnType`.", "MISSING_RETURN_TYPE")
        second = returnType if f is not None and functionType is None else functionType
        return lambda function: _vectorised(function, given, kind, second)
    if returnType is None:
        raise PySparkTypeError("Missing required argument: `returnType`.", "MISSING_RETURN_TYPE")
    shape = "aggregate" if functionType in _GROUPED_AGG else _shape(f)
    if shape == "aggregate":
        raise PySparkNotImplementedError(
            f"{getattr(f, '__name__', 'the function')} makes one value of a group, and aggregates of the user's own do "
            "not exist in Tidemill; use the built-in ones, applyInPandas in a batch, or foreachBatch",
            "NOT_IMPLEMENTED",
        )
    return UserDefinedFunction(_each(f) if shape == "iterator" else f, returnType, kind)


def _shape(f: Callable[..., Any]) -> str:
    try:
        hints = typing.get_type_hints(f)
    except Exception:
        hints = dict(getattr(f, "__annotations__", {}))
    result = hints.get("return")
    if result is None:
        return "batch"
    text = result if isinstance(result, str) else getattr(result, "__qualname__", str(result))
    if typing.get_origin(result) is not None and issubclass(typing.get_origin(result), Iterator):
        return "iterator"
    if text.split("[")[0].endswith("Iterator"):
        return "iterator"
    return (
        "batch" if text.rsplit(".", 1)[-1].split("[")[0] in ("Series", "DataFrame", "Array") else "aggregate"
    )


def _each(f: Callable[..., Any]) -> Callable[..., Any]:
    """An iterator function as a function of one batch."""

    @functools.wraps(f)
    def call(*batch: Any) -> Any:
        return next(iter(f(iter([batch[0] if len(batch) == 1 else batch]))))

    return call


__all__ = ["UserDefinedFunction", "arrow_udf", "pandas_udf", "udf"]
