"""Which types meet where: Spark's widening and implicit casts."""

from __future__ import annotations

from tidemill.types import (
    ArrayType,
    BinaryType,
    BooleanType,
    ByteType,
    DataType,
    DateType,
    DecimalType,
    DoubleType,
    FloatType,
    FractionalType,
    IntegerType,
    IntegralType,
    LongType,
    MapType,
    NullType,
    NumericType,
    ShortType,
    StringType,
    StructField,
    StructType,
    TimestampNTZType,
    TimestampType,
)

_INTEGERS: tuple[DataType, ...] = (ByteType(), ShortType(), IntegerType(), LongType())
_DIGITS = {ByteType(): 3, ShortType(): 5, IntegerType(): 10, LongType(): 20}

MAX_PRECISION = 38
MINIMUM_ADJUSTED_SCALE = 6
"""Digits after the point that Spark keeps when a result would need more than 38 digits (DecimalType in its source)."""


def as_decimal(kind: DataType) -> DecimalType:
    """The decimal that holds every value of a number's type, as Spark's DecimalType.forType."""
    if isinstance(kind, DecimalType):
        return kind
    if isinstance(kind, FloatType):
        return DecimalType(14, 7)
    if isinstance(kind, DoubleType):
        return DecimalType(30, 15)
    return DecimalType(_DIGITS[kind] if isinstance(kind, IntegralType) else 38, 0)


def literal_decimal(value: int) -> DecimalType:
    """A whole-number literal next to a decimal counts with the digits that it has."""
    return DecimalType(max(1, len(str(abs(value)))), 0)


def adjusted(precision: int, scale: int) -> DecimalType:
    """Spark's adjustPrecisionScale: more than 38 digits give up digits after the point, down to six."""
    if precision <= MAX_PRECISION:
        return DecimalType(precision, scale)
    whole = precision - scale
    kept = max(MAX_PRECISION - whole, min(scale, MINIMUM_ADJUSTED_SCALE))
    return DecimalType(MAX_PRECISION, kept)


def bounded(precision: int, scale: int) -> DecimalType:
    return DecimalType(min(precision, MAX_PRECISION), min(scale, MAX_PRECISION))


def decimal_result(operator: str, a: DecimalType, b: DecimalType) -> DecimalType:
    """The type of ``a operator b`` (SQL Server's rules, as Spark has them)."""
    p1, s1, p2, s2 = a.precision, a.scale, b.precision, b.scale
    match operator:
        case "+" | "-":
            scale = max(s1, s2)
            return adjusted(max(p1 - s1, p2 - s2) + scale + 1, scale)
        case "*":
            return adjusted(p1 + p2 + 1, s1 + s2)
        case "/":
            scale = max(MINIMUM_ADJUSTED_SCALE, s1 + p2 + 1)
            return adjusted(p1 - s1 + s2 + scale, scale)
        case "%":
            return adjusted(min(p1 - s1, p2 - s2) + max(s1, s2), max(s1, s2))
    raise ValueError(f"no decimal rule for {operator!r}")


def wider_decimal(a: DecimalType, b: DecimalType) -> DecimalType:
    """The decimal that holds both without loss of whole digits."""
    scale = max(a.scale, b.scale)
    return bounded(max(a.precision - a.scale, b.precision - b.scale) + scale, scale)


def tightest(a: DataType, b: DataType) -> DataType | None:
    """The narrowest type that both widen to without a string being read: Spark's findTightestCommonType and decimals."""
    if a == b:
        return a
    if isinstance(a, NullType):
        return b
    if isinstance(b, NullType):
        return a
    if isinstance(a, NumericType) and isinstance(b, NumericType):
        return _wider_number(a, b)
    dates = (DateType, TimestampType, TimestampNTZType)
    if isinstance(a, dates) and isinstance(b, dates):
        return TimestampType() if TimestampType() in (a, b) else TimestampNTZType()
    return _wider_nested(a, b)


def _wider_number(a: DataType, b: DataType) -> DataType:
    if isinstance(a, DecimalType) or isinstance(b, DecimalType):
        if isinstance(a, (FloatType, DoubleType)) or isinstance(b, (FloatType, DoubleType)):
            return DoubleType()
        return wider_decimal(as_decimal(a), as_decimal(b))
    if DoubleType() in (a, b):
        return DoubleType()
    if FloatType() in (a, b):
        other = b if isinstance(a, FloatType) else a
        return FloatType() if not isinstance(other, IntegralType) else DoubleType()
    return _INTEGERS[max(_INTEGERS.index(a), _INTEGERS.index(b))]


def _wider_nested(a: DataType, b: DataType) -> DataType | None:
    match a, b:
        case ArrayType(x, n), ArrayType(y, m):
            element = common(x, y)
            return ArrayType(element, n or m) if element else None
        case MapType(k, x, n), MapType(j, y, m):
            key, value = common(k, j), common(x, y)
            return MapType(key, value, n or m) if key and value else None
        case StructType(fs), StructType(gs) if len(fs) == len(gs):
            found = []
            for f, g in zip(fs, gs, strict=True):
                kind = common(f.dataType, g.dataType)
                if kind is None or f.name.lower() != g.name.lower():
                    return None
                found.append(StructField(f.name, kind, f.nullable or g.nullable))
            return StructType(found)
    return None


def common(a: DataType, b: DataType, ansi: bool = True) -> DataType | None:
    """The type in which values of both meet (CASE, COALESCE, IN, UNION, comparison); None if there is none."""
    found = tightest(a, b)
    if not ansi and FloatType() in (a, b) and isinstance(b if a == FloatType() else a, IntegralType):
        return FloatType()
    if found is not None:
        return found
    if isinstance(a, StringType):
        return _with_string(b, ansi)
    if isinstance(b, StringType):
        return _with_string(a, ansi)
    return None


def _with_string(other: DataType, ansi: bool) -> DataType | None:
    """ANSI reads the string as the other type, widening whole numbers to BIGINT and fractions to DOUBLE."""
    if not isinstance(
        other, (NumericType, BooleanType, DateType, TimestampType, TimestampNTZType, BinaryType)
    ):
        return None
    if not ansi:
        return None if isinstance(other, (BinaryType, BooleanType)) else StringType()
    if isinstance(other, IntegralType):
        return LongType()
    if isinstance(other, FractionalType):
        return DoubleType()
    return other


def compared(a: DataType, b: DataType, ansi: bool) -> DataType | None:
    """The type in which a comparison is made; without ANSI a string is read as what it is compared with."""
    if isinstance(a, StructType) and isinstance(b, StructType) and len(a) == len(b):
        b = StructType(
            StructField(f.name, g.dataType, g.nullable) for f, g in zip(a, b, strict=True)
        )  # names do not count
    if not ansi and isinstance(a, StringType) != isinstance(b, StringType):
        other = b if isinstance(a, StringType) else a
        if isinstance(
            other, (NumericType, BooleanType, DateType, TimestampType, TimestampNTZType, BinaryType)
        ):
            return DoubleType() if isinstance(other, FractionalType) else other
    return common(a, b, ansi)


def common_of(kinds: list[DataType], ansi: bool = True) -> DataType | None:
    """`common` over several; strings last, as Spark does, so that the order of the others does not matter."""
    ordered = [k for k in kinds if not isinstance(k, StringType)]
    ordered += [k for k in kinds if isinstance(k, StringType)]
    found: DataType | None = NullType()
    for kind in ordered:
        found = common(found, kind, ansi) if found is not None else None
    return found
