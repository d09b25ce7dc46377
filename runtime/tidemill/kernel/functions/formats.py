"""Formatted numbers: format_string's conversions and format_number's digits."""

from __future__ import annotations

import math
import re
from decimal import ROUND_HALF_EVEN, ROUND_HALF_UP, Context, Decimal
from typing import Any

import pyarrow as pa

from tidemill.errors import AnalysisException
from tidemill.kernel.functions.rows import Refused, by_row
from tidemill.kernel.functions.texts import java_double
from tidemill.kernel.macros import KernelFunction, kernel

_ITEM = re.compile(r"%(?:(\d+)\$)?([-#+ 0,(]*)(\d+)?(?:\.(\d+))?([a-zA-Z%])")
_WIDE = Context(prec=400)
_FITS = {"d": "dxXoscSbB", "l": "dxXosSbB", "f": "feEgsSbB", "m": "fsSbB", "b": "bsBS", "s": "sSbB"}


def check_format(pattern: str, kinds: str) -> None:
    """Refuse a conversion that Java would refuse, before anything runs."""
    rest = _ITEM.sub("", pattern)
    if "%" in rest:
        raise AnalysisException(
            f"format_string(): {pattern!r} has a '%' that begins no conversion; write '%%' for a percent sign",
            "INVALID_PARAMETER_VALUE.FORMAT",
        )
    position = 0
    for index, _, _, _, conversion in _ITEM.findall(pattern):
        if conversion in "%n":
            continue
        if not index:
            position += 1
        at = int(index) if index else position
        if at > len(kinds):
            raise AnalysisException(
                f"format_string(): {pattern!r} asks for {at} arguments, there are {len(kinds)}",
                "INVALID_PARAMETER_VALUE.FORMAT",
            )
        if conversion not in _FITS[kinds[at - 1]]:
            raise AnalysisException(
                f"format_string(): %{conversion} does not take argument {at} of {pattern!r}; use %s",
                "INVALID_PARAMETER_VALUE.FORMAT",
            )


def format_java(pattern: str, values: tuple[Any, ...], kinds: str = "") -> str:
    """java.util.Formatter's answer in the root locale; ``kinds`` has an 'l' for each value that is 64 bits wide."""
    position = 0

    def item(found: re.Match[str]) -> str:
        nonlocal position
        index, flags, width, precision, conversion = found.groups()
        if conversion == "%":
            return _padded("%", flags, width)
        if conversion == "n":
            return "\n"
        if not index:
            position += 1
        at = int(index) - 1 if index else position - 1
        value = values[at]
        if conversion in "xXo" and isinstance(value, int) and value < 0:
            value += 1 << (64 if kinds[at : at + 1] == "l" else 32)
        text = _converted(value, flags, width, precision, conversion)
        return text.upper() if conversion.isupper() else text

    return _ITEM.sub(item, pattern)


def _padded(text: str, flags: str, width: str | None) -> str:
    # Java counts UTF-16 units.
    missing = " " * (int(width or 0) - len(text.encode("utf-16-le")) // 2)
    return text + missing if "-" in flags else missing + text


def _cut(text: str, precision: str | None) -> str:
    if precision is None or text.isascii():
        return text[: int(precision)] if precision else text
    return text.encode("utf-16-le")[: 2 * int(precision)].decode("utf-16-le", "replace")


def _converted(value: Any, flags: str, width: str | None, precision: str | None, conversion: str) -> str:
    kind = conversion.lower()
    if kind == "b":
        text = "false" if value is None else str(value).lower() if isinstance(value, bool) else "true"
        return _padded(_cut(text, precision), flags, width)
    if value is None:
        return _padded(_cut("null", precision), flags, width)
    if kind == "s":
        return _padded(_cut(_text(value), precision), flags, width)
    if kind == "c":
        return _padded(chr(value), flags, width)
    if kind in "xo":
        digits = format(value, kind)
        return digits.rjust(int(width or 0), "0") if "0" in flags else _padded(digits, flags, width)
    return _number(value, flags, width, precision, kind)


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return java_double(value)
    return f"{value:f}" if isinstance(value, Decimal) else str(value)


def _number(value: Any, flags: str, width: str | None, precision: str | None, kind: str) -> str:
    if isinstance(value, float) and not math.isfinite(value):
        text = "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
        if value > 0 and "+" in flags:
            text = "+" + text
        return _padded(text, flags, width)
    negative = value < 0 or (isinstance(value, float) and math.copysign(1, value) < 0)
    digits = _digits(abs(value), int(precision) if precision else 6, kind)
    if "," in flags:
        whole, _, fraction = digits.partition(".")
        digits = f"{int(whole):,}" + (f".{fraction}" if fraction else "")
    before = "-" if negative else "+" if "+" in flags else " " if " " in flags else ""
    after = ""
    if negative and "(" in flags:
        before, after = "(", ")"
    if "0" in flags and width:
        digits = digits.rjust(int(width) - len(before) - len(after), "0")
    return _padded(before + digits + after, flags, width)


def _digits(value: Any, precision: int, kind: str) -> str:
    if kind == "d":
        return str(value)
    exact = Decimal(repr(value)) if isinstance(value, float) else value
    if kind == "f":
        return f"{exact.quantize(Decimal(1).scaleb(-precision), ROUND_HALF_UP, _WIDE):f}"
    if kind == "e":
        return f"{float(exact):.{precision}e}"
    significant = precision or 1
    rounded = Context(prec=significant, rounding=ROUND_HALF_UP).plus(exact)
    if rounded == 0 or Decimal("0.0001") <= rounded < Decimal(10) ** significant:
        scale = max(significant - 1 - (rounded.adjusted() if rounded else 0), 0)
        return f"{exact.quantize(Decimal(1).scaleb(-scale), ROUND_HALF_UP, _WIDE):f}"
    return f"{float(exact):.{significant - 1}e}"


@kernel("format_string")
def _format_string(kinds: str = "") -> KernelFunction:
    return by_row(
        lambda pattern, *values: format_java(pattern, values, kinds), "VARCHAR", pa.string(), null_in=True
    )


def format_number(value: Any, digits: int) -> str | None:
    """``1,234.50``: groups of three, so many digits after the point, half to even."""
    if digits < 0:
        return None
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "∞" if value > 0 else "-∞"
    rounded = _half_even(value, Decimal(1).scaleb(-digits))
    return f"{rounded:,.{digits}f}"


def _half_even(value: Any, unit: Decimal) -> Decimal:
    """The digits as written, but a tie among them is one only if the double itself is: java.text.DecimalFormat."""
    if not isinstance(value, float):
        return Decimal(value).quantize(unit, ROUND_HALF_EVEN, _WIDE)
    written = Decimal(repr(value))
    tie = _WIDE.remainder(_WIDE.multiply(abs(written), 2), unit) == 0 and _WIDE.remainder(written, unit) != 0
    return (Decimal(value) if tie else written).quantize(unit, ROUND_HALF_EVEN, _WIDE)


@kernel("format_number")
def _format_number() -> KernelFunction:
    return by_row(format_number, "VARCHAR", pa.string())


_PATTERN = re.compile(r"([#,]*)([0,]*)(?:\.(0*)(#*))?")


def format_pattern(value: Any, pattern: str) -> str:
    """A number by a pattern of java.text.DecimalFormat made of '#', '0', ',' and one '.'."""
    found = _PATTERN.fullmatch(pattern)
    if not found:
        raise Refused(
            "INVALID_PARAMETER_VALUE.PATTERN",
            f"format_number(): {pattern!r} is no pattern of '#', '0', ',' and '.'",
        )
    optional, zeros, fixed, more = (g or "" for g in found.groups())
    rounded = _half_even(value, Decimal(1).scaleb(-len(fixed + more)))
    whole, _, fraction = f"{abs(rounded):f}".partition(".")
    fraction = fraction[: len(fixed)] + fraction[len(fixed) :].rstrip("0")
    whole = whole.lstrip("0").rjust(zeros.count("0"), "0")
    if "," in optional + zeros:
        size = len((optional + zeros).rpartition(",")[2])
        head = len(whole) % size or size
        whole = ",".join([whole[:head], *(whole[n : n + size] for n in range(head, len(whole), size))])
    text = whole + (f".{fraction}" if fraction else "")
    return f"-{text}" if rounded < 0 else text or "0"


@kernel("format_pattern")
def _format_pattern() -> KernelFunction:
    return by_row(format_pattern, "VARCHAR", pa.string())
