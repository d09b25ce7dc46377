"""DuckDB's errors as Spark's: the condition and the exception class that a Spark program expects.

Expressions raise Spark's own errors as ``error('[CONDITION] message')``; the rest are DuckDB's own overflow and
conversion errors, which mean the same.
"""

from __future__ import annotations

import itertools
import re
import threading

import duckdb

from tidemill.errors import (
    ArithmeticException,
    ArrayIndexOutOfBoundsException,
    DateTimeException,
    NumberFormatException,
    PySparkException,
    SparkRuntimeException,
)

_MARKED = re.compile(r"\[([A-Z][A-Z0-9_.]+)\] (.*)", re.S)
_UDF = re.compile(r"\[tidemill-udf:(\d+)\]")

_CLASSES: dict[str, type[SparkRuntimeException]] = {
    "DIVIDE_BY_ZERO": ArithmeticException,
    "REMAINDER_BY_ZERO": ArithmeticException,
    "INTERVAL_DIVIDED_BY_ZERO": ArithmeticException,
    "ARITHMETIC_OVERFLOW": ArithmeticException,
    "BINARY_ARITHMETIC_OVERFLOW": ArithmeticException,
    "INTERVAL_ARITHMETIC_OVERFLOW": ArithmeticException,
    "CAST_OVERFLOW": ArithmeticException,
    "NUMERIC_VALUE_OUT_OF_RANGE": ArithmeticException,
    "INVALID_ARRAY_INDEX": ArrayIndexOutOfBoundsException,
    "INVALID_ARRAY_INDEX_IN_ELEMENT_AT": ArrayIndexOutOfBoundsException,
    "CANNOT_PARSE_TIMESTAMP": DateTimeException,
    "DATETIME_FIELD_OUT_OF_BOUNDS": DateTimeException,
    "DATETIME_OVERFLOW": ArithmeticException,
}

_REMEDY = (
    "use 'try_' functions (try_cast, try_add, ...) for NULL instead, or set spark.sql.ansi.enabled to false"
)

# DuckDB's text, Spark's condition, what we say. The first that matches counts.
_NATIVE: tuple[tuple[re.Pattern[str], str, str], ...] = (
    (re.compile(r"Overflow in .* of U?INT(8|16) "), "BINARY_ARITHMETIC_OVERFLOW", _REMEDY),
    (re.compile(r"Overflow (in|on) |Cannot negate|out of range \(.*overflow|[Oo]verflow"),
     "ARITHMETIC_OVERFLOW", _REMEDY),
    (re.compile(r"Failed to cast decimal value .* to type INT"), "ARITHMETIC_OVERFLOW", _REMEDY),
    (re.compile(r"(Date|Timestamp) out of range"), "DATETIME_OVERFLOW", "it is beyond the years that can be held"),
    (re.compile(r"Map keys must be unique"), "DUPLICATED_MAP_KEY", "make the keys distinct"),
    (re.compile(r"map key list does not align"), "_LEGACY_ERROR_TEMP_2128", "give as many keys as values"),
    (re.compile(r"Map keys can not be NULL"), "NULL_MAP_KEY", "filter the NULL keys out first"),
    (re.compile(r"Division by zero"), "DIVIDE_BY_ZERO", _REMEDY),
    (re.compile(r"Type \w+ with value .* can't be cast .*to the destination type DECIMAL|Could not cast value .* to DECIMAL"
                r"|Casting .* to DECIMAL"), "NUMERIC_VALUE_OUT_OF_RANGE.WITH_SUGGESTION", _REMEDY),
    # No column of Spark's is of 128 bits: such a value is a sum or a product.
    (re.compile(r"Type INT128 with value .* can't be cast"), "ARITHMETIC_OVERFLOW", _REMEDY),
    (re.compile(r"can't be cast because the value is out of range"), "CAST_OVERFLOW", _REMEDY),
    (re.compile(r"Could not convert string|date field value out of range|timestamp field value out of range"
                r"|invalid (date|timestamp) field format"), "CAST_INVALID_INPUT", _REMEDY),
    (re.compile(r"invalid regex|Invalid regex|missing (argument|\)|\])|no argument for repetition", re.I),
     "INVALID_PARAMETER_VALUE.PATTERN", "the pattern is no regular expression that can be run"),
)  # fmt: skip

_numbers = itertools.count(1)
_pending: dict[int, BaseException] = {}
_lock = threading.Lock()


def remember(error: BaseException) -> str:
    """Keep an exception that crosses DuckDB, which passes text only; returns the mark to put into that text."""
    number = next(_numbers)
    with _lock:
        _pending[number] = error
        while len(_pending) > 64:  # several threads may fail for one query; only one of them is looked up
            _pending.pop(next(iter(_pending)))
    return f"[tidemill-udf:{number}]"


def raised(condition: str, message: str) -> PySparkException:
    """The exception for a condition."""
    kind = _CLASSES.get(condition) or _CLASSES.get(condition.split(".")[0]) or SparkRuntimeException
    if condition == "CAST_INVALID_INPUT":
        kind = DateTimeException if re.search(r'"(DATE|TIMESTAMP)', message) else NumberFormatException
    return kind(message, condition)


def translate(error: duckdb.Error) -> Exception:
    """What to raise for an error of DuckDB's."""
    text = str(error)
    if isinstance(error, duckdb.InterruptException):
        return error
    found = _UDF.search(text)
    if found:
        with _lock:
            kept = _pending.pop(int(found.group(1)), None)
        if isinstance(kept, Exception):
            return kept
    marked = _MARKED.search(text)
    if marked:
        return raised(marked.group(1), marked.group(2).split("\n\nLINE ")[0].rstrip())
    first = text.split("\n")[0]
    for pattern, condition, remedy in _NATIVE:
        if pattern.search(first):
            return raised(condition, f"{first.split('Error: ', 1)[-1]}; {remedy}")
    return SparkRuntimeException(text, "INTERNAL_ERROR")
