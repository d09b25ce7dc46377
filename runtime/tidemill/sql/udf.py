"""``spark.udf``: functions that SQL text may call by name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sqlglot import exp

from tidemill.errors import PySparkTypeError
from tidemill.sql.arguments import expect
from tidemill.sql.functions.userdefined import UserDefinedFunction
from tidemill.types import DataType, StringType


class UDFRegistration:
    """The registered functions of one session, by lower-case name."""

    def __init__(self) -> None:
        self._functions: dict[str, UserDefinedFunction] = {}

    def register(
        self,
        name: str,
        f: Callable[..., Any] | UserDefinedFunction,
        returnType: DataType | str | None = None,
    ) -> UserDefinedFunction:
        """Let SQL call ``f`` as ``name``; a plain function returns ``returnType``, STRING by default."""
        expect(name, str, "name", "str")
        if isinstance(f, UserDefinedFunction):
            if returnType is not None:
                raise PySparkTypeError(
                    "Cannot specify return type for an existing user-defined function.",
                    "CANNOT_SPECIFY_RETURN_TYPE_FOR_UDF",
                )
            made = f.named(name)
        else:
            made = UserDefinedFunction(f, returnType if returnType is not None else StringType(), name=name)
        self._functions[name.lower()] = made
        return made

    def bound(self, e: exp.Expression) -> exp.Expression:
        """``e`` with every call of a registered function bound to it."""
        if not self._functions:
            return e
        return e.transform(self._bind)

    def _bind(self, e: exp.Expression) -> exp.Expression:
        if isinstance(e, exp.Anonymous) and (found := self._functions.get(str(e.this).lower())) is not None:
            return found.tree(e.expressions)
        return e
