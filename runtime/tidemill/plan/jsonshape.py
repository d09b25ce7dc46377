"""The texts that DuckDB's JSON reads exactly as Spark does, as one regular expression for a schema.

A text of that shape is opened in one pass, straight into the schema's types. The expression runs over the text once, as
a finite automaton, at ten times the speed of the parser behind it; what it leaves out, only costs time. It takes the
keys of the schema in the order of the schema or of the alphabet (so that none comes twice, where the two differ about
which counts), any of them left out, and between them other keys with plain values.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from tidemill.types import (
    ArrayType,
    BooleanType,
    DataType,
    DateType,
    DecimalType,
    DoubleType,
    IntegralType,
    StringType,
    StructType,
    TimestampNTZType,
    TimestampType,
)

MOST_FIELDS = 24
"""An expression for more would outgrow the automaton's cache."""

_S = r"[ \t\r\n]*"
_TEXT = r'"(?:[^"\\\x00-\x1f]|\\["\\/bfnrt])*"'
_WHOLE = r"-?(?:0|[1-9][0-9]{{0,{}}})"
_FRACTION = r"(?:0|-?[1-9][0-9]{0,11})(?:\.[0-9]{1,15})?(?:[eE][-+]?[0-9]{1,2})?"
_WORD = "true|false|null"
_DAY = "[0-9]{4}-[0-9]{2}-[0-9]{2}"
_CLOCK = rf"{_DAY}[ T](?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](?:\.[0-9]{{1,6}})?"
_PLAIN = f"(?:{_TEXT}|{_FRACTION}|{_WORD})"
_SAFE_DIGITS = {8: 1, 16: 3, 32: 8, 64: 17}
"""Digits after the first that no value of so many bits is too small for."""


def shape(kind: DataType) -> str | None:
    """The expression, or None where there is no such shape of the schema."""
    if not isinstance(kind, StructType):
        return None
    found = _object(kind)
    return None if found is None else f"{_S}{found}{_S}"


def _value(kind: DataType) -> str | None:
    match kind:
        case StringType():
            return f"(?:{_TEXT}|{_WHOLE.format(14)}|{_WORD})"
        case IntegralType():
            return f"(?:{_WHOLE.format(_SAFE_DIGITS[kind.bits])}|null)"
        case DoubleType():
            return f"(?:{_FRACTION}|null)"
        case BooleanType():
            return f"(?:{_WORD})"
        case TimestampType() | TimestampNTZType():
            return f'(?:"{_CLOCK}"|null)'
        case DateType():
            return f'(?:"{_DAY}"|null)'
        case DecimalType(precision, scale):
            return _decimal(precision, scale)
        case ArrayType(element):
            item = _value(element)
            return item and rf"(?:\[{_S}(?:{item}(?:{_S},{_S}{item})*)?{_S}\]|null)"
        case StructType():
            return _object(kind)
    return None


def _decimal(precision: int, scale: int) -> str | None:
    """Up to 15 digits in all go unharmed through the double that DuckDB makes of a number."""
    whole = min(precision - scale, 15 - min(scale, 6))
    if whole < 1:
        return None
    fraction = rf"(?:\.[0-9]{{1,{min(scale, 6)}}})?" if scale else ""
    return f"(?:{_WHOLE.format(whole - 1)}{fraction}|null)"


def _object(kind: StructType) -> str | None:
    fields = list(kind)
    if not fields or len(fields) > MOST_FIELDS:
        return None
    values = {f.name: _value(f.dataType) for f in fields}
    if any(
        v is None or not re.fullmatch(r"[\x20-\x7e]+", n) or '"' in n or "\\" in n for n, v in values.items()
    ):
        return None
    other = f'{_S}"{_unlike(list(values))}"{_S}:{_S}{_PLAIN}{_S}'
    names = list(values)
    orders = [names] if names == sorted(names) else [names, sorted(names)]
    listed = "|".join(_ordered(order, values, other) for order in orders)
    # A brace in the place of a comma passes here; the parser refuses it then.
    return rf"(?:(?:{listed}|\{{{_S})\}})"


def _ordered(names: Sequence[str], values: dict[str, str | None], other: str) -> str:
    known = (rf'(?:[{{,]{_S}"{re.escape(n)}"{_S}:{_S}{values[n]}{_S})?(?:[{{,]{other})*' for n in names)
    return rf"(?:[{{,]{other})*{''.join(known)}"


def _unlike(names: list[str]) -> str:
    """An expression for the keys that are none of ``names``, by their common beginnings."""
    firsts = sorted({n[0] for n in names if n})
    branches = [rf'[^"\\\x00-\x1f{"".join(_in_class(c) for c in firsts)}][^"\\\x00-\x1f]*']
    for first in firsts:
        rest = [n[1:] for n in names if n[:1] == first]
        branches.append(re.escape(first) + _unlike(rest))
    end = "" if "" in names else "|"
    return f"(?:{'|'.join(branches)}{end})"


def _in_class(sign: str) -> str:
    return "\\" + sign if sign in r"\]^-[" else sign
