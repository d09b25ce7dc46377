"""Decimal arithmetic where DuckDB's would give up other digits than Spark's."""

from __future__ import annotations

from collections.abc import Callable
from decimal import ROUND_DOWN, ROUND_HALF_UP, Context, Decimal

import pyarrow as pa

from tidemill.kernel.functions.rows import Refused, by_row
from tidemill.kernel.macros import KernelFunction, kernel

_EXACT = Context(prec=90, rounding=ROUND_HALF_UP)
_QUOTIENT = Context(prec=90, rounding=ROUND_HALF_UP)


def fitted(value: Decimal, precision: int, scale: int, lenient: bool) -> Decimal | None:
    """``value`` with ``scale`` digits after the point; what needs more than ``precision`` is None or refused."""
    rounded = value.quantize(Decimal(1).scaleb(-scale), ROUND_HALF_UP, _EXACT)
    if len(rounded.as_tuple().digits) > precision and rounded != 0:
        if lenient:
            return None
        raise Refused(
            "NUMERIC_VALUE_OUT_OF_RANGE.WITH_SUGGESTION",
            f"The value {value} cannot be represented as Decimal({precision}, {scale}); use `try_` functions for NULL.",
        )
    return rounded


def _arithmetic(compute: Callable[[Decimal, Decimal], Decimal]) -> Callable[[str, str, str], KernelFunction]:
    def build(precision: str, scale: str, mode: str) -> KernelFunction:
        p, s, lenient = int(precision), int(scale), mode == "lenient"
        kind = pa.decimal128(p, s)
        return by_row(lambda a, b: fitted(compute(a, b), p, s, lenient), f"DECIMAL({p},{s})", kind)

    return build


def _remainder(a: Decimal, b: Decimal) -> Decimal:
    return a - b * (_QUOTIENT.divide(a, b)).to_integral_value(ROUND_DOWN)


def _whole(a: Decimal, b: Decimal) -> Decimal:
    return _QUOTIENT.divide(a, b).to_integral_value(ROUND_DOWN)


kernel("decimal_add")(_arithmetic(lambda a, b: _EXACT.add(a, b)))
kernel("decimal_subtract")(_arithmetic(lambda a, b: _EXACT.subtract(a, b)))
kernel("decimal_multiply")(_arithmetic(lambda a, b: _EXACT.multiply(a, b)))
kernel("decimal_divide")(_arithmetic(lambda a, b: _QUOTIENT.divide(a, b)))
kernel("decimal_div")(_arithmetic(_whole))
kernel("decimal_remainder")(_arithmetic(_remainder))


@kernel("decimal_average")
def _average(total_p: str, total_s: str, precision: str, scale: str, mode: str) -> KernelFunction:
    """A sum by a count: Spark divides by DECIMAL(20,0) and brings that quotient to the average's type."""
    p, s, lenient = int(precision), int(scale), mode == "lenient"

    def divide(total: Decimal, count: int) -> Decimal | None:
        return fitted(_QUOTIENT.divide(total, Decimal(count)), p, s, lenient)

    return by_row(divide, f"DECIMAL({p},{s})", pa.decimal128(p, s))


@kernel("decimal_text")
def _decimal_text() -> KernelFunction:
    """java.math.BigDecimal.toString: plain down to six zeros after the point, then with an exponent."""

    def write(value: Decimal) -> str:
        parts = value.as_tuple()
        digits = "".join(map(str, parts.digits))
        exponent = int(parts.exponent) + len(digits) - 1
        if exponent >= -6:
            return f"{value:f}"
        mantissa = digits[0] + (f".{digits[1:]}" if len(digits) > 1 else "")
        return f"{'-' if parts.sign else ''}{mantissa}E{exponent}"

    return by_row(write, "VARCHAR", pa.string())
