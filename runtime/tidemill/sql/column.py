"""`Column`: an expression over rows, written with Python's operators.

A Column wraps the same SQLGlot tree that SQL text parses to, so both ways to write a program build the same plan. A
tree belongs to one parent, so everything here copies what it takes in.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NoReturn, TypeAlias

from sqlglot import exp

from tidemill.errors import PySparkAttributeError, PySparkTypeError, PySparkValueError
from tidemill.plan.names import NAMED, pretty
from tidemill.sql.arguments import expect, wrong_type
from tidemill.sql.literals import call, literal
from tidemill.sql.rendering import render
from tidemill.types import DataType, ddl, parse_type

if TYPE_CHECKING:
    from tidemill.sql.window import WindowSpec

ColumnOrName: TypeAlias = "Column | str"
"""A column, or the name of one; used in annotations."""


def tree(value: Any) -> exp.Expression:
    """The expression of a Column, or the literal of any other value; a copy that the caller may place in a tree."""
    return value._expression.copy() if isinstance(value, Column) else literal(value)


def named_tree(value: Any, argument: str = "col") -> exp.Expression:
    """The expression of a Column or of the column with that name; anything else is refused."""
    if isinstance(value, Column):
        return value._expression.copy()
    expect(value, str, argument, "Column or str")
    return by_name(value)


_NAME_PART = re.compile(r"`((?:[^`]|``)+)`|([^.`]+)")


@functools.lru_cache(maxsize=1024)
def split_name(name: str) -> tuple[str, ...]:
    """The parts of a dotted name; backticks keep dots inside a part.

    >>> split_name("a.`b.c`")
    ('a', 'b.c')
    """
    parts, at = [], 0
    while True:
        found = _NAME_PART.match(name, at)
        if not found or (found.end() < len(name) and name[found.end()] != "."):
            raise PySparkValueError(
                f"Syntax error in the attribute name: {name}.", "INVALID_ATTRIBUTE_NAME_SYNTAX"
            )
        parts.append(found[1].replace("``", "`") if found[1] else found[2])
        if found.end() == len(name):
            return tuple(parts)
        at = found.end() + 1


def by_name(name: str) -> exp.Expression:
    """The unresolved column of a dotted name, as the parser makes it; ``*`` and ``a.*`` are stars."""
    if name == "*":
        return exp.Star()
    parts = split_name(name)
    identifiers: list[exp.Expression] = [exp.to_identifier(p) for p in parts]
    if parts[-1] == "*":
        identifiers[-1] = exp.Star()
    first, rest = identifiers[:4], identifiers[4:]
    slots = dict(zip(("this", "table", "db", "catalog"), reversed(first), strict=False))
    found: exp.Expression = exp.Column(**slots)
    for identifier in rest:
        found = exp.Dot(this=found, expression=identifier)
    return found


def data_type(kind: DataType | str) -> exp.DataType:
    """A type, or its DDL text, as it stands in a CAST."""
    expect(kind, (DataType, str), "dataType", "DataType or str")
    known = parse_type(kind) if isinstance(kind, str) else kind
    return exp.DataType.build(ddl(known), dialect="spark")


class Column:
    """An expression over the rows of a DataFrame; nothing runs until the DataFrame does.

    >>> from tidemill.sql import functions as F
    >>> (F.col("price") * 2).alias("twice")
    Column<'*(price, 2) AS twice'>
    """

    _expression: exp.Expression

    def __init__(self, expression: exp.Expression) -> None:
        self.__dict__["_expression"] = expression

    # --- Arithmetic -------------------------------------------------------------------------------------------------

    def __neg__(self) -> Column:
        return self._call("negative")

    def __add__(self, other: Any) -> Column:
        return self._binary(exp.Add, other)

    def __radd__(self, other: Any) -> Column:
        # Spark turns 1 + a into a + 1; it shows in the column's name.
        return self._binary(exp.Add, other)

    def __sub__(self, other: Any) -> Column:
        return self._binary(exp.Sub, other)

    def __rsub__(self, other: Any) -> Column:
        return self._reversed(exp.Sub, other)

    def __mul__(self, other: Any) -> Column:
        return self._binary(exp.Mul, other)

    def __rmul__(self, other: Any) -> Column:
        return self._binary(exp.Mul, other)

    def __truediv__(self, other: Any) -> Column:
        return Column(exp.Div(this=tree(self), expression=tree(other), typed=False, safe=True))

    def __rtruediv__(self, other: Any) -> Column:
        return Column(exp.Div(this=tree(other), expression=tree(self), typed=False, safe=True))

    def __mod__(self, other: Any) -> Column:
        return self._binary(exp.Mod, other)

    def __rmod__(self, other: Any) -> Column:
        return self._reversed(exp.Mod, other)

    def __pow__(self, other: Any) -> Column:
        return self._call("power", other)

    def __rpow__(self, other: Any) -> Column:
        return Column(call("power", [tree(other), tree(self)]))

    # --- Comparison and logic ---------------------------------------------------------------------------------------

    def __eq__(self, other: Any) -> Column:  # type: ignore[override]
        return self._binary(exp.EQ, other)

    def __ne__(self, other: Any) -> Column:  # type: ignore[override]
        return self._binary(exp.NEQ, other)

    def __lt__(self, other: Any) -> Column:
        return self._binary(exp.LT, other)

    def __le__(self, other: Any) -> Column:
        return self._binary(exp.LTE, other)

    def __gt__(self, other: Any) -> Column:
        return self._binary(exp.GT, other)

    def __ge__(self, other: Any) -> Column:
        return self._binary(exp.GTE, other)

    __hash__ = None  # type: ignore[assignment]

    def __and__(self, other: Any) -> Column:
        return self._binary(exp.And, other)

    def __rand__(self, other: Any) -> Column:
        return self._binary(exp.And, other)

    def __or__(self, other: Any) -> Column:
        return self._binary(exp.Or, other)

    def __ror__(self, other: Any) -> Column:
        return self._binary(exp.Or, other)

    def __invert__(self) -> Column:
        return Column(exp.Not(this=tree(self)))

    def eqNullSafe(self, other: Any) -> Column:
        """Equality in which two nulls are equal."""
        return self._binary(exp.NullSafeEQ, other)

    def between(self, lowerBound: Any, upperBound: Any) -> Column:
        """``lowerBound <= self AND self <= upperBound``."""
        return (self >= lowerBound) & (self <= upperBound)

    def isin(self, *cols: Any) -> Column:
        """Whether the value is one of ``cols``, or of the one list or set given."""
        values = cols[0] if len(cols) == 1 and isinstance(cols[0], (list, set, tuple)) else cols
        if not values:  # SQL has no empty list
            none = exp.Boolean(this=False)
            none.meta[NAMED] = f"({pretty(self._expression)} IN ())"
            none.meta["text"] = f"in({render(self._expression)})"
            return Column(none)
        return Column(exp.In(this=tree(self), expressions=[tree(v) for v in values]))

    def isNull(self) -> Column:
        return Column(exp.Is(this=tree(self), expression=exp.Null()))

    def isNotNull(self) -> Column:
        return Column(exp.Not(this=exp.Is(this=tree(self), expression=exp.Null())))

    def isNaN(self) -> Column:
        return self._call("isnan")

    # --- Bits -------------------------------------------------------------------------------------------------------

    def bitwiseAND(self, other: Any) -> Column:
        return self._binary(exp.BitwiseAnd, other)

    def bitwiseOR(self, other: Any) -> Column:
        return self._binary(exp.BitwiseOr, other)

    def bitwiseXOR(self, other: Any) -> Column:
        return self._binary(exp.BitwiseXor, other)

    # --- Text -------------------------------------------------------------------------------------------------------

    def contains(self, other: Any) -> Column:
        return self._call("contains", other)

    def startswith(self, other: Any) -> Column:
        return self._call("startswith", other)

    def endswith(self, other: Any) -> Column:
        return self._call("endswith", other)

    def like(self, other: str) -> Column:
        """SQL's LIKE: ``%`` is any text, ``_`` any character."""
        return self._binary(exp.Like, other)

    def ilike(self, other: str) -> Column:
        """LIKE without regard to case."""
        return self._binary(exp.ILike, other)

    def rlike(self, other: str) -> Column:
        """Whether the regular expression ``other`` is found in the text."""
        return self._binary(exp.RegexpLike, other)

    def substr(self, startPos: int | Column, length: int | Column) -> Column:
        """``length`` characters from the 1-based ``startPos``."""
        if isinstance(startPos, Column) is not isinstance(length, Column):
            raise PySparkTypeError(
                f"Argument `startPos` and `length` should be the same type, got {type(startPos).__name__} and "
                f"{type(length).__name__}.",
                "NOT_SAME_TYPE",
            )
        if not isinstance(startPos, (int, Column)):
            wrong_type("startPos", "Column or int", startPos)
        return self._call("substr", startPos, length)

    # --- Parts ------------------------------------------------------------------------------------------------------

    def getItem(self, key: Any) -> Column:
        """The element of an array by its 0-based position, or of a map by its key."""
        return Column(exp.Bracket(this=tree(self), expressions=[tree(key)]))

    def getField(self, name: Any) -> Column:
        """A field of a struct by its name."""
        return self.getItem(name)

    def withField(self, fieldName: str, col: Column) -> Column:
        """The struct with one field added, or replaced if it is there."""
        expect(fieldName, str, "fieldName", "str")
        expect(col, Column, "col", "Column")
        return self._call("update_field", fieldName, col)

    def dropFields(self, *fieldNames: str) -> Column:
        """The struct without some of its fields."""
        found = self
        for name in fieldNames:
            found = found._call("drop_field", name)
        return found

    def __getitem__(self, k: Any) -> Column:
        if isinstance(k, slice):
            if k.step is not None:
                raise PySparkValueError("Using slice with step is not supported.", "SLICE_WITH_STEP")
            return self.substr(k.start, k.stop)
        return self.getItem(k)

    def __getattr__(self, item: str) -> Column:
        if item.startswith("__"):
            raise PySparkAttributeError(f"Attribute `{item}` is not supported.", "ATTRIBUTE_NOT_SUPPORTED")
        return self.getItem(item)

    # --- Names, types, order ----------------------------------------------------------------------------------------

    def alias(self, *alias: str, **kwargs: Any) -> Column:
        """The column under a name, or several for a generator that makes several columns.

        ``metadata``, a dict, may go with one name.
        """
        metadata = kwargs.pop("metadata", None)
        if kwargs:
            raise PySparkTypeError(
                f"alias() takes `metadata` and nothing else by name, not {', '.join(kwargs)}"
            )
        for name in alias:
            expect(name, str, "alias", "str")
        names = [exp.to_identifier(a) for a in alias]
        if len(names) != 1:
            if metadata is not None:
                raise PySparkValueError(
                    "Argument `metadata` can only be provided for a single column.",
                    "ONLY_ALLOWED_FOR_SINGLE_COLUMN",
                )
            return Column(exp.Aliases(this=tree(self), expressions=names))
        made = exp.Alias(this=tree(self), alias=names[0])
        if metadata is not None:
            made.meta["metadata"] = metadata
        return Column(made)

    name = alias

    def cast(self, dataType: DataType | str) -> Column:
        """The value as another type; what cannot be converted fails, unless ``spark.sql.ansi.enabled`` is false."""
        return Column(exp.Cast(this=tree(self), to=data_type(dataType)))

    astype = cast

    def try_cast(self, dataType: DataType | str) -> Column:
        """The value as another type, or null where it cannot be converted."""
        return Column(exp.TryCast(this=tree(self), to=data_type(dataType), safe=True))

    def asc(self) -> Column:
        return self._ordered(descending=False, nulls_first=True)

    def asc_nulls_first(self) -> Column:
        return self._ordered(descending=False, nulls_first=True)

    def asc_nulls_last(self) -> Column:
        return self._ordered(descending=False, nulls_first=False)

    def desc(self) -> Column:
        return self._ordered(descending=True, nulls_first=False)

    def desc_nulls_first(self) -> Column:
        return self._ordered(descending=True, nulls_first=True)

    def desc_nulls_last(self) -> Column:
        return self._ordered(descending=True, nulls_first=False)

    # --- Cases and windows ------------------------------------------------------------------------------------------

    def when(self, condition: Column, value: Any) -> Column:
        """One more case, after ``functions.when``."""
        expect(condition, Column, "condition", "Column")
        cases = self._open_case("when")
        cases.append("ifs", exp.If(this=tree(condition), true=tree(value)))
        return Column(cases)

    def otherwise(self, value: Any) -> Column:
        """The value where no condition holds; null without it."""
        cases = self._open_case("otherwise")
        cases.set("default", tree(value))
        return Column(cases)

    def over(self, window: WindowSpec) -> Column:
        """The function over a window of rows."""
        from tidemill.sql.window import WindowSpec

        expect(window, WindowSpec, "window", "WindowSpec")
        return Column(window.over(tree(self)))

    def transform(self, f: Callable[[Column], Column]) -> Column:
        """``f(self)``, to chain functions from left to right."""
        result = f(self)
        expect(result, Column, "f", "a function that returns a Column")
        return result

    # --- What a column is not ---------------------------------------------------------------------------------------

    def __bool__(self) -> NoReturn:
        raise PySparkValueError(
            f"Cannot convert column into bool (offending column: {render(self._expression)}): please use '&' for "
            "'and', '|' for 'or', '~' for 'not' when building DataFrame boolean expressions.",
            "CANNOT_CONVERT_COLUMN_INTO_BOOL",
        )

    def __contains__(self, item: Any) -> NoReturn:
        raise PySparkValueError(
            "Cannot apply 'in' operator against a column: please use 'contains' in a string column or "
            "'array_contains' function for an array column.",
            "CANNOT_APPLY_IN_FOR_COLUMN",
        )

    def __iter__(self) -> NoReturn:
        raise PySparkTypeError("Column is not iterable.", "NOT_ITERABLE")

    def __repr__(self) -> str:
        return f"Column<'{render(self._expression)}'>"

    def __reduce__(self) -> Any:
        return (Column, (self._expression,))

    def __copy__(self) -> Column:
        return Column(self._expression.copy())

    def __deepcopy__(self, memo: Any) -> Column:
        return Column(self._expression.copy())

    # --- Building ---------------------------------------------------------------------------------------------------

    def _binary(self, kind: type[exp.Expression], other: Any) -> Column:
        return Column(kind(this=tree(self), expression=tree(other)))

    def _reversed(self, kind: type[exp.Expression], other: Any) -> Column:
        return Column(kind(this=tree(other), expression=tree(self)))

    def _call(self, function: str, *others: Any) -> Column:
        return Column(call(function, [tree(self), *map(tree, others)]))

    def _ordered(self, descending: bool, nulls_first: bool) -> Column:
        return Column(exp.Ordered(this=tree(self), desc=descending, nulls_first=nulls_first))

    def _open_case(self, method: str) -> exp.Case:
        found = tree(self)
        if not isinstance(found, exp.Case) or found.args.get("default") is not None:
            raise PySparkTypeError(
                f"{method}() continues a chain that functions.when() began and otherwise() has not ended, not "
                f"{render(self._expression)}"
            )
        return found
