"""Numbers: arithmetic, rounding, logarithms, angles and bits."""

from __future__ import annotations

from tidemill.sql.column import Column, ColumnOrName
from tidemill.sql.functions.building import call, lit, optional, value


def abs(col: ColumnOrName) -> Column:
    """The absolute value."""
    return call("abs", col)


def acos(col: ColumnOrName) -> Column:
    """The angle in radians whose cosine is the value; NaN outside -1 to 1."""
    return call("acos", col)


def acosh(col: ColumnOrName) -> Column:
    """The inverse hyperbolic cosine."""
    return call("acosh", col)


def asin(col: ColumnOrName) -> Column:
    """The angle in radians whose sine is the value; NaN outside -1 to 1."""
    return call("asin", col)


def asinh(col: ColumnOrName) -> Column:
    """The inverse hyperbolic sine."""
    return call("asinh", col)


def atan(col: ColumnOrName) -> Column:
    """The angle in radians whose tangent is the value."""
    return call("atan", col)


def atan2(col1: ColumnOrName | float, col2: ColumnOrName | float) -> Column:
    """The angle in radians between the x axis and the point (``col2``, ``col1``)."""
    return call("atan2", value(col1), value(col2))


def atanh(col: ColumnOrName) -> Column:
    """The inverse hyperbolic tangent."""
    return call("atanh", col)


def bin(col: ColumnOrName) -> Column:
    """The binary digits of a whole number as text."""
    return call("bin", col)


def bit_count(col: ColumnOrName) -> Column:
    """How many bits are set."""
    return call("bit_count", col)


def bit_get(col: ColumnOrName, pos: ColumnOrName) -> Column:
    """The bit at a position, 0 being the lowest."""
    return call("bit_get", col, pos)


def getbit(col: ColumnOrName, pos: ColumnOrName) -> Column:
    """The bit at a position, 0 being the lowest."""
    return call("getbit", col, pos)


def bround(col: ColumnOrName, scale: Column | int | None = None) -> Column:
    """Rounded half to even at ``scale`` decimals, 0 by default."""
    return call("bround", col, optional(scale))


def cbrt(col: ColumnOrName) -> Column:
    """The cube root."""
    return call("cbrt", col)


def ceil(col: ColumnOrName, scale: Column | int | None = None) -> Column:
    """The nearest whole number not below the value, or the nearest number of ``scale`` decimals."""
    return call("ceil", col, optional(scale))


def ceiling(col: ColumnOrName, scale: Column | int | None = None) -> Column:
    """The nearest whole number not below the value, or the nearest number of ``scale`` decimals."""
    return call("ceiling", col, optional(scale))


def conv(col: ColumnOrName, fromBase: int, toBase: int) -> Column:
    """A number's digits, given as text in base ``fromBase``, in base ``toBase``."""
    return call("conv", col, lit(fromBase), lit(toBase))


def cos(col: ColumnOrName) -> Column:
    """The cosine of an angle in radians."""
    return call("cos", col)


def cosh(col: ColumnOrName) -> Column:
    """The hyperbolic cosine."""
    return call("cosh", col)


def cot(col: ColumnOrName) -> Column:
    """The cotangent of an angle in radians."""
    return call("cot", col)


def csc(col: ColumnOrName) -> Column:
    """The cosecant of an angle in radians."""
    return call("csc", col)


def degrees(col: ColumnOrName) -> Column:
    """Radians as degrees."""
    return call("degrees", col)


def toDegrees(col: ColumnOrName) -> Column:
    """Radians as degrees; the old name."""
    return call("degrees", col)


def e() -> Column:
    """Euler's number."""
    return call("e")


def exp(col: ColumnOrName) -> Column:
    """e to the power of the value."""
    return call("exp", col)


def expm1(col: ColumnOrName) -> Column:
    """e to the power of the value, minus one; exact near zero."""
    return call("expm1", col)


def factorial(col: ColumnOrName) -> Column:
    """The factorial of 0 to 20; null outside."""
    return call("factorial", col)


def floor(col: ColumnOrName, scale: Column | int | None = None) -> Column:
    """The nearest whole number not above the value, or the nearest number of ``scale`` decimals."""
    return call("floor", col, optional(scale))


def greatest(*cols: ColumnOrName) -> Column:
    """The greatest of two or more values, nulls aside."""
    return call("greatest", *cols)


def hex(col: ColumnOrName) -> Column:
    """A number, text or bytes in hexadecimal."""
    return call("hex", col)


def hypot(col1: ColumnOrName | float, col2: ColumnOrName | float) -> Column:
    """The length of the hypotenuse, without overflow on the way."""
    return call("hypot", value(col1), value(col2))


def least(*cols: ColumnOrName) -> Column:
    """The least of two or more values, nulls aside."""
    return call("least", *cols)


def ln(col: ColumnOrName) -> Column:
    """The natural logarithm; null for zero and less."""
    return call("ln", col)


def log10(col: ColumnOrName) -> Column:
    """The logarithm to base 10."""
    return call("log10", col)


def log1p(col: ColumnOrName) -> Column:
    """The natural logarithm of the value plus one; exact near zero."""
    return call("log1p", col)


def log2(col: ColumnOrName) -> Column:
    """The logarithm to base 2."""
    return call("log2", col)


def negate(col: ColumnOrName) -> Column:
    """The value with its sign turned over."""
    return call("negative", col)


def negative(col: ColumnOrName) -> Column:
    """The value with its sign turned over."""
    return call("negative", col)


def pi() -> Column:
    """The ratio of a circle's circumference to its diameter."""
    return call("pi")


def pmod(dividend: ColumnOrName | float, divisor: ColumnOrName | float) -> Column:
    """The remainder that is never negative for a positive divisor."""
    return call("pmod", value(dividend), value(divisor))


def positive(col: ColumnOrName) -> Column:
    """The value itself."""
    return call("positive", col)


def pow(col1: ColumnOrName | float, col2: ColumnOrName | float) -> Column:
    """``col1`` to the power of ``col2``."""
    return call("power", value(col1), value(col2))


def power(col1: ColumnOrName | float, col2: ColumnOrName | float) -> Column:
    """``col1`` to the power of ``col2``."""
    return call("power", value(col1), value(col2))


def radians(col: ColumnOrName) -> Column:
    """Degrees as radians."""
    return call("radians", col)


def toRadians(col: ColumnOrName) -> Column:
    """Degrees as radians; the old name."""
    return call("radians", col)


def rint(col: ColumnOrName) -> Column:
    """The nearest whole number as a double, halves to even."""
    return call("rint", col)


def round(col: ColumnOrName, scale: Column | int | None = None) -> Column:
    """Rounded half up at ``scale`` decimals, 0 by default."""
    return call("round", col, optional(scale))


def sec(col: ColumnOrName) -> Column:
    """The secant of an angle in radians."""
    return call("sec", col)


def shiftleft(col: ColumnOrName, numBits: int) -> Column:
    """The bits moved left by ``numBits``."""
    return call("shiftleft", col, lit(numBits))


def shiftLeft(col: ColumnOrName, numBits: int) -> Column:
    """The bits moved left by ``numBits``; the old name."""
    return call("shiftleft", col, lit(numBits))


def shiftright(col: ColumnOrName, numBits: int) -> Column:
    """The bits moved right by ``numBits``, keeping the sign."""
    return call("shiftright", col, lit(numBits))


def shiftRight(col: ColumnOrName, numBits: int) -> Column:
    """The bits moved right by ``numBits``, keeping the sign; the old name."""
    return call("shiftright", col, lit(numBits))


def shiftrightunsigned(col: ColumnOrName, numBits: int) -> Column:
    """The bits moved right by ``numBits``, zeros coming in."""
    return call("shiftrightunsigned", col, lit(numBits))


def shiftRightUnsigned(col: ColumnOrName, numBits: int) -> Column:
    """The bits moved right by ``numBits``, zeros coming in; the old name."""
    return call("shiftrightunsigned", col, lit(numBits))


def sign(col: ColumnOrName) -> Column:
    """-1.0, 0.0 or 1.0."""
    return call("sign", col)


def signum(col: ColumnOrName) -> Column:
    """-1.0, 0.0 or 1.0."""
    return call("signum", col)


def sin(col: ColumnOrName) -> Column:
    """The sine of an angle in radians."""
    return call("sin", col)


def sinh(col: ColumnOrName) -> Column:
    """The hyperbolic sine."""
    return call("sinh", col)


def sqrt(col: ColumnOrName) -> Column:
    """The square root."""
    return call("sqrt", col)


def tan(col: ColumnOrName) -> Column:
    """The tangent of an angle in radians."""
    return call("tan", col)


def tanh(col: ColumnOrName) -> Column:
    """The hyperbolic tangent."""
    return call("tanh", col)


def try_add(left: ColumnOrName, right: ColumnOrName) -> Column:
    """The sum, or null where it overflows."""
    return call("try_add", left, right)


def try_divide(left: ColumnOrName, right: ColumnOrName) -> Column:
    """The quotient, or null where the divisor is zero."""
    return call("try_divide", left, right)


def try_mod(left: ColumnOrName, right: ColumnOrName) -> Column:
    """The remainder, or null where the divisor is zero."""
    return call("try_mod", left, right)


def try_multiply(left: ColumnOrName, right: ColumnOrName) -> Column:
    """The product, or null where it overflows."""
    return call("try_multiply", left, right)


def try_subtract(left: ColumnOrName, right: ColumnOrName) -> Column:
    """The difference, or null where it overflows."""
    return call("try_subtract", left, right)


def unhex(col: ColumnOrName) -> Column:
    """The bytes of hexadecimal text; null where it is none."""
    return call("unhex", col)


def width_bucket(
    v: ColumnOrName, min: ColumnOrName, max: ColumnOrName, numBucket: ColumnOrName | int
) -> Column:
    """The number of the bucket that ``v`` falls into, of ``numBucket`` equal ones between ``min`` and ``max``."""
    return call("width_bucket", v, min, max, value(numBucket))


__all__ = [
    "abs",
    "acos",
    "acosh",
    "asin",
    "asinh",
    "atan",
    "atan2",
    "atanh",
    "bin",
    "bit_count",
    "bit_get",
    "bround",
    "cbrt",
    "ceil",
    "ceiling",
    "conv",
    "cos",
    "cosh",
    "cot",
    "csc",
    "degrees",
    "e",
    "exp",
    "expm1",
    "factorial",
    "floor",
    "getbit",
    "greatest",
    "hex",
    "hypot",
    "least",
    "ln",
    "log1p",
    "log2",
    "log10",
    "negate",
    "negative",
    "pi",
    "pmod",
    "positive",
    "pow",
    "power",
    "radians",
    "rint",
    "round",
    "sec",
    "shiftLeft",
    "shiftRight",
    "shiftRightUnsigned",
    "shiftleft",
    "shiftright",
    "shiftrightunsigned",
    "sign",
    "signum",
    "sin",
    "sinh",
    "sqrt",
    "tan",
    "tanh",
    "toDegrees",
    "toRadians",
    "try_add",
    "try_divide",
    "try_mod",
    "try_multiply",
    "try_subtract",
    "unhex",
    "width_bucket",
]
