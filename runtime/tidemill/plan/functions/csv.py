"""Lines of separated values: read by a schema, written, and their schema inferred."""

from __future__ import annotations

import re

from tidemill.errors import AnalysisException, SourceError
from tidemill.kernel import fields
from tidemill.kernel.functions import separated, times
from tidemill.plan.casts import sql_name
from tidemill.plan.csvwriting import CsvWriting
from tidemill.plan.functions.json import given_options, nullable, written_schema
from tidemill.plan.functions.registry import Call, special
from tidemill.plan.typed import Typed, text_literal
from tidemill.types import (
    BooleanType,
    DataType,
    DateType,
    DecimalType,
    DoubleType,
    IntegerType,
    LongType,
    NullType,
    StringType,
    StructField,
    StructType,
    TimestampType,
    ddl,
)


@special("from_csv", least=2, most=3)
def _from_csv(call: Call) -> Typed:
    if not isinstance(call.arg(0).type, (StringType, NullType)):
        raise call.mismatch("begin with a string")
    kind = nullable(written_schema(call, 1))
    if not isinstance(kind, StructType):
        raise AnalysisException(
            f"from_csv(): the schema must be a struct like 'a INT, b STRING', not {sql_name(kind)}",
            "INVALID_SCHEMA.NON_STRUCT_TYPE",
        )
    options = given_options(call, 2)
    mode = options.get("mode", "PERMISSIVE").upper()
    if mode not in ("PERMISSIVE", "FAILFAST"):
        raise AnalysisException(
            f"from_csv() does not support the mode {mode}; use PERMISSIVE or FAILFAST",
            "PARSE_MODE_UNSUPPORTED",
        )
    try:
        name = f"tm_from_csv__{separated.packed(kind, options, call.settings.time_zone)}"
        separated.LineReader(kind, options, call.settings.time_zone)
    except SourceError as error:
        raise AnalysisException(f"from_csv(): {error}", "INVALID_OPTIONS") from None
    return Typed(f"{name}({call.coerced(0, StringType()).sql})", kind, True)


@special("to_csv", least=1, most=2)
def _to_csv(call: Call) -> Typed:
    value = call.arg(0)
    if isinstance(value.type, NullType):
        return call.coerced(0, StringType())
    if not isinstance(value.type, StructType):
        raise call.mismatch("begin with a struct")
    writing = CsvWriting(given_options(call, 1), call.settings)
    return Typed(writing.line(value.sql, value.type), StringType(), value.nullable)


@special("schema_of_csv", least=1, most=2)
def _schema_of_csv(call: Call) -> Typed:
    text = call.literal(0)
    options = given_options(call, 1)
    cells = fields.cut(text, fields.csv_layout(options)) if isinstance(text, str) and text else None
    if not isinstance(cells, list):
        raise AnalysisException(
            f"schema_of_csv(): {text!r} is no line of CSV; pass an example like '1,abc'",
            "DATATYPE_MISMATCH.NON_FOLDABLE_INPUT",
        )
    kind = StructType(StructField(f"_c{n}", inferred(cell.text)) for n, cell in enumerate(cells))
    return text_literal(ddl(kind))


def inferred(text: str) -> DataType:
    """The narrowest type that a field's text fits, as Spark tries them.

    >>> inferred("3000000000").simpleString(), inferred("x").simpleString()
    ('bigint', 'string')
    """
    if not text:
        return StringType()
    if re.fullmatch(r"[+-]?\d+", text):
        return _whole(text)
    if re.fullmatch(r"\s*[+-]?((\d+\.?\d*|\.\d+)([eE][+-]?\d+)?[dDfF]?|NaN|Infinity)\s*", text) or text in (
        "Inf",
        "-Inf",
    ):
        return DoubleType()
    if re.fullmatch(r"\d{4}-\d{1,2}-\d{1,2}", text) and times.read_date(text) is not None:
        return DateType()
    if times.read_timestamp(text, "UTC") is not None:
        return TimestampType()
    return BooleanType() if text.lower() in ("true", "false") else StringType()


def _whole(text: str) -> DataType:
    value = int(text)
    if -(1 << 31) <= value < 1 << 31:
        return IntegerType()
    if -(1 << 63) <= value < 1 << 63:
        return LongType()
    digits = len(str(abs(value)))
    return DecimalType(digits, 0) if digits <= 38 else DoubleType()
