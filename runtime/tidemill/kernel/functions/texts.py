"""Text: numbers as Java writes them, text that is no UTF-8, regular expressions that RE2 has not."""

from __future__ import annotations

import math
import re
import struct
from functools import lru_cache

import pyarrow as pa

from tidemill.kernel.functions.rows import by_row
from tidemill.kernel.macros import KernelFunction, kernel


def java_double(value: float) -> str:
    """A double as Java's Double.toString writes it, with the shortest digits that read back."""
    return _java_form(value, repr(value))


def java_float(value: float) -> str:
    """A float likewise."""
    return _java_form(value, _shortest_float(value))


def _shortest_float(value: float) -> str:
    for digits in range(1, 10):
        text = f"{value:.{digits - 1}e}"
        if struct.pack("f", float(text)) == struct.pack("f", value):
            return repr(float(text))
    return repr(value)


def _java_form(value: float, shortest: str) -> str:
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "Infinity" if value > 0 else "-Infinity"
    if value == 0 or 1e-3 <= abs(value) < 1e7:
        return shortest if "." in shortest and "e" not in shortest else f"{value:.1f}"
    mantissa, _, exponent = shortest.partition("e")
    sign = "-" if mantissa.startswith("-") else ""
    whole, _, fraction = mantissa.lstrip("-").partition(".")
    digits = (whole + fraction).rstrip("0")
    shift = int(exponent or 0) + len(whole) - 1
    stripped = digits.lstrip("0")
    shift -= len(digits) - len(stripped)
    return f"{sign}{stripped[0]}.{stripped[1:] or '0'}E{shift}"


@kernel("double_text")
def _double_text() -> KernelFunction:
    return by_row(java_double, "VARCHAR", pa.string())


@kernel("float_text")
def _float_text() -> KernelFunction:
    return by_row(java_float, "VARCHAR", pa.string())


@kernel("utf8")
def _utf8() -> KernelFunction:
    return by_row(lambda b: b.decode("utf-8", "replace"), "VARCHAR", pa.string())


@lru_cache(maxsize=512)
def java_regex(pattern: str) -> re.Pattern[str]:
    """A Java regular expression as Python's; classes such as \\d mean ASCII in Java."""
    translated = re.sub(r"\(\?<([A-Za-z]\w*)>", r"(?P<\1>", pattern)
    translated = re.sub(r"\\k<(\w+)>", r"(?P=\1)", translated)
    return re.compile(translated.replace(r"\Z", r"(?=\n?\Z)").replace(r"\z", r"\Z"), re.ASCII)


@kernel("rlike")
def _rlike() -> KernelFunction:
    return by_row(lambda text, pattern: java_regex(pattern).search(text) is not None, "BOOLEAN", pa.bool_())
