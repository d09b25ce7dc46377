"""Numbers: functions that DuckDB lacks, and rounding by decimal digits as Java does it."""

from __future__ import annotations

import math
import struct
from decimal import ROUND_CEILING, ROUND_FLOOR, ROUND_HALF_EVEN, ROUND_HALF_UP, Context, Decimal
from typing import Any

import numpy as np
import pyarrow as pa

from tidemill.kernel.functions.decimals import fitted
from tidemill.kernel.functions.rows import Refused, by_row
from tidemill.kernel.macros import KernelFunction, kernel

_MODES = {"up": ROUND_HALF_UP, "even": ROUND_HALF_EVEN, "ceil": ROUND_CEILING, "floor": ROUND_FLOOR}
_WIDE = Context(prec=800)


def vectorised(function: Any) -> KernelFunction:
    """A function over numpy columns of doubles; NULL where an argument is."""

    def call(*columns: Any) -> pa.Array:
        valid = np.ones(len(columns[0]), bool)
        values = []
        for column in columns:
            flat = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
            valid &= np.asarray(flat.is_valid())
            values.append(np.asarray(flat.fill_null(0.0)))
        with np.errstate(all="ignore"):
            found = function(*values)
        return pa.array(found, pa.float64(), mask=~valid)

    return KernelFunction(call, "DOUBLE")


@kernel("expm1")
def _expm1() -> KernelFunction:
    return vectorised(np.expm1)


@kernel("log1p")
def _log1p() -> KernelFunction:
    return by_row(lambda x: None if x <= -1 else math.log1p(x), "DOUBLE", pa.float64())


@kernel("hypot")
def _hypot() -> KernelFunction:
    return vectorised(np.hypot)


@kernel("atanh")
def _atanh() -> KernelFunction:
    return vectorised(np.arctanh)


@kernel("round")
def _round(precision: str, scale: str, mode: str) -> KernelFunction:
    """A decimal rounded at a digit, which may lie before the point."""
    p, s = int(precision), int(scale)

    def rounded(value: Decimal, digits: int) -> Decimal | None:
        return fitted(value.quantize(Decimal(1).scaleb(-digits), _MODES[mode], _WIDE), p, s, True)

    return by_row(rounded, f"DECIMAL({p},{s})", pa.decimal128(p, s))


def round_digits(value: float, digits: int, mode: str) -> float:
    """A double rounded by the decimal digits that it is written with."""
    if not math.isfinite(value):
        return value
    return (
        float(Decimal(repr(value)).quantize(Decimal(1).scaleb(-digits), _MODES[mode], _WIDE)) + 0.0
    )  # no -0.0


@kernel("round_double")
def _round_double(mode: str) -> KernelFunction:
    return by_row(lambda x, n: round_digits(x, n, mode), "DOUBLE", pa.float64())


@kernel("round_float")
def _round_float(mode: str) -> KernelFunction:
    from tidemill.kernel.functions.texts import _shortest_float

    def rounded(value: float, digits: int) -> float:
        if not math.isfinite(value):
            return value
        exact = Decimal(_shortest_float(value)).quantize(Decimal(1).scaleb(-digits), _MODES[mode], _WIDE)
        return float(struct.unpack("f", struct.pack("f", float(exact)))[0])

    return by_row(rounded, "FLOAT", pa.float32())


_DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"


def convert_base(text: str, base: int, to: int, strict: bool) -> str | None:
    """A number's digits in another base; what follows the last digit is ignored, as Hive does."""
    if not (2 <= base <= 36 and 2 <= abs(to) <= 36):
        return None
    stripped = text.strip(" ")
    if not stripped:
        return None
    negative = stripped.startswith("-")
    value = 0
    for sign in stripped[1:] if negative else stripped:
        digit = _DIGITS.find(sign.upper())
        if not 0 <= digit < base:
            break
        value = value * base + digit
    if value >= 1 << 64:
        if strict:
            raise Refused("ARITHMETIC_OVERFLOW", f"conv() of {text!r} does not fit 64 bits")
        value = (1 << 64) - 1
        return _written(-1, to) if to < 0 else _written(value, to)
    if negative:
        value = ((1 << 64) - value) % (1 << 64) if to > 0 else -value
    elif to < 0 and value >= 1 << 63:
        value -= 1 << 64
    return _written(value, to)


def _written(value: int, to: int) -> str:
    sign, rest, base = ("-" if value < 0 else ""), abs(value), abs(to)
    found = ""
    while rest:
        rest, digit = divmod(rest, base)
        found = _DIGITS[digit] + found
    return sign + (found or "0")


@kernel("conv")
def _conv(mode: str) -> KernelFunction:
    return by_row(lambda t, a, b: convert_base(t, a, b, mode == "strict"), "VARCHAR", pa.string())


@kernel("unhex")
def _unhex() -> KernelFunction:
    def read(text: str) -> bytes | None:
        try:
            return bytes.fromhex("0" + text if len(text) % 2 else text) if " " not in text else None
        except ValueError:
            return None

    return by_row(read, "BLOB", pa.binary())
