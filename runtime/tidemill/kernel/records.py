"""One record at a time, exactly as Spark reads it: the second look at what the fast path could not vouch for.

Everything here answers with the value, or with `Bad`: why it is none.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from dataclasses import dataclass
from datetime import UTC, tzinfo
from decimal import ROUND_HALF_UP, Context, Decimal, InvalidOperation
from typing import Any

from tidemill.kernel.moments import parse_date, parse_formatted, parse_moment, zone
from tidemill.types import (
    ArrayType,
    BinaryType,
    BooleanType,
    DataType,
    DateType,
    DecimalType,
    DoubleType,
    FloatType,
    IntegralType,
    MapType,
    NullType,
    StringType,
    StructType,
    TimestampNTZType,
    TimestampType,
)

_EXACT = Context(prec=76)
_SHOWN = 80  # characters of a value in a reason


@dataclass(frozen=True)
class TextRules:
    """How text becomes values. Formats are strptime's; None: Spark's own forms."""

    time_zone: str = "UTC"
    date_format: str | None = None
    timestamp_format: str | None = None
    ntz_format: str | None = None
    nan: str = "NaN"
    positive_inf: str = "Inf"
    negative_inf: str = "-Inf"

    @property
    def zone(self) -> tzinfo:
        return zone(self.time_zone) or UTC


@dataclass(frozen=True)
class Bad:
    """Why there is no value."""

    reason: str


class Number(str):
    """A JSON number as it was written."""

    __slots__ = ()


def parse_json(text: str) -> Any:
    """A JSON value whose numbers are `Number`; `Bad` if it is none.

    The first of two fields of one name wins, as with DuckDB (with Spark the last does).
    """
    try:
        value, end = _DECODER.raw_decode(text, len(text) - len(text.lstrip(" \t\r\n\ufeff")))
    except RecursionError:
        return Bad("malformed JSON: nested too deeply")
    except ValueError as error:
        return Bad(f"malformed JSON: {error}")
    rest = text[end:].strip()
    return Bad(f"malformed JSON: {_shown(rest)} follows the end of the record") if rest else value


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    return found if len(found) == len(pairs) else dict(reversed(pairs))


_DECODER = json.JSONDecoder(
    object_pairs_hook=_object, parse_int=Number, parse_float=Number, parse_constant=Number
)


def json_record(text: str, schema: StructType, rules: TextRules) -> tuple[dict[str, Any], str | None]:
    """The row of one JSON record, nulls where a value does not fit, and the reasons (None: all fit)."""
    value = parse_json(text)
    if isinstance(value, dict):
        return _struct(value, schema, rules, "")
    if isinstance(value, Bad):
        reason = value.reason
    else:
        reason = (
            f"the record is not a JSON object but {_kind(value)}" if text.strip() else "the record is empty"
        )
    return dict.fromkeys(schema.names), reason


def _struct(
    value: dict[str, Any], schema: StructType, rules: TextRules, at: str
) -> tuple[dict[str, Any], str | None]:
    row: dict[str, Any] = {}
    reasons = []
    for f in schema.fields:
        got, reason = json_value(value.get(f.name), f.dataType, rules, f"{at}{f.name}")
        row[f.name] = got
        if reason:
            reasons.append(reason)
    return row, "; ".join(reasons) or None


def json_value(value: Any, kind: DataType, rules: TextRules, at: str) -> tuple[Any, str | None]:
    """One JSON value as ``kind``; ``at`` names it in the reason."""
    if value is None:
        return None, None
    match kind:
        case StructType() if isinstance(value, dict):
            return _struct(value, kind, rules, f"{at}.")
        case ArrayType(element) if isinstance(value, list):
            parts = [json_value(v, element, rules, f"{at}[{i}]") for i, v in enumerate(value)]
            return _whole([v for v, _ in parts], [r for _, r in parts])
        case MapType(_, inner) if isinstance(value, dict):
            found = {k: json_value(v, inner, rules, f"{at}.{k}") for k, v in value.items()}
            return _whole(
                [(k.encode(errors="replace").decode(), v) for k, (v, _) in found.items()],
                [r for _, r in found.values()],
            )
    got = _json_atom(value, kind, rules)
    if isinstance(got, Bad):
        return None, f"column {at!r}: {_shown(_text(value))} is not {got.reason}"
    return got, None


def _whole(value: Any, reasons: list[str | None]) -> tuple[Any, str | None]:
    """An array or map of which a part does not fit is null as a whole, as in Spark."""
    bad = [r for r in reasons if r]
    return (None, "; ".join(bad)) if bad else (value, None)


def _json_atom(value: Any, kind: DataType, rules: TextRules) -> Any:
    if isinstance(kind, StringType):
        # As in Java, half of a surrogate pair becomes a question mark.
        return _text(value).encode(errors="replace").decode()
    if isinstance(kind, BooleanType):
        return value if isinstance(value, bool) else Bad("BOOLEAN (true or false without quotes)")
    if isinstance(value, Number):
        return _json_number(value, kind, rules)
    if type(value) is str:
        return _json_string(value, kind, rules)
    return Bad(_name(kind))


def _json_number(value: Number, kind: DataType, rules: TextRules) -> Any:
    if isinstance(kind, IntegralType):
        return whole(value, kind)
    if isinstance(kind, DoubleType | FloatType):
        return float(value)
    if isinstance(kind, DecimalType):
        return decimal(value, kind)
    if isinstance(kind, TimestampType) and re.fullmatch(r"-?\d{1,12}", value):
        return int(value) * 1_000_000  # seconds since the epoch, as microseconds
    return Bad(_name(kind))


def _json_string(value: str, kind: DataType, rules: TextRules) -> Any:
    if isinstance(kind, DoubleType | FloatType):
        named = {"NaN", "Infinity", "-Infinity", "+INF", "INF", "-INF", "+Infinity"}
        return float(value) if value in named else Bad(f"{_name(kind)} (a number without quotes)")
    if isinstance(kind, IntegralType):
        return Bad(f"{_name(kind)} (a whole number without quotes)")
    if isinstance(kind, BinaryType):
        try:
            return base64.b64decode(value, validate=True)
        except (binascii.Error, ValueError):
            return Bad("BINARY (base64 text)")
    return text_value(value, kind, rules)


def text_value(text: str, kind: DataType, rules: TextRules) -> Any:
    """A value written as text, as in a CSV field; `Bad` with the name of the type if it is none."""
    match kind:
        case StringType():
            return text
        case BinaryType():
            return text.encode()
        case BooleanType():
            return {"true": True, "false": False}.get(text.lower(), Bad("BOOLEAN (true or false)"))
        case IntegralType():
            return whole(text, kind)
        case DoubleType() | FloatType():
            return _floating(text, kind, rules)
        case DecimalType():
            return decimal(text.replace(",", ""), kind)  # as Spark: commas stand between thousands
        case NullType():
            return None
    return _moment(text, kind, rules)


def _moment(text: str, kind: DataType, rules: TextRules) -> Any:
    if isinstance(kind, DateType):
        if rules.date_format is None:
            found: Any = parse_date(text)
        else:
            moment = parse_formatted(text, rules.date_format, None)
            found = moment and moment.date()
    elif isinstance(kind, TimestampType | TimestampNTZType):
        local = isinstance(kind, TimestampNTZType)
        format = rules.ntz_format if local else rules.timestamp_format
        place = None if local else rules.zone
        found = parse_moment(text, place) if format is None else parse_formatted(text, format, place)
    else:
        found = None
    return Bad(_name(kind)) if found is None else found


def whole(text: str, kind: IntegralType) -> Any:
    """A whole number that fits its type."""
    if not re.fullmatch(r"[+-]?\d+", text):
        return Bad(f"{_name(kind)} (a whole number)")
    value = int(text) if len(text) < 30 else 1 << 99
    return (
        value
        if -(1 << (kind.bits - 1)) <= value < 1 << (kind.bits - 1)
        else Bad(f"in the range of {_name(kind)}")
    )


def decimal(text: str, kind: DecimalType) -> Any:
    """A decimal rounded half up to its scale."""
    try:
        value = _EXACT.create_decimal(text)
        value = value.quantize(Decimal(1).scaleb(-kind.scale), ROUND_HALF_UP, _EXACT)
        fits = not value or value.adjusted() < kind.precision - kind.scale
    except (InvalidOperation, ValueError):
        return Bad(_name(kind))
    return value if fits and value.is_finite() else Bad(f"in the range of {_name(kind)}")


def _floating(text: str, kind: DataType, rules: TextRules) -> Any:
    named = {rules.nan: "nan", rules.positive_inf: "inf", rules.negative_inf: "-inf"}
    try:
        if "_" in text:
            raise ValueError
        return float(named.get(text, text))
    except ValueError:
        return Bad(f"{_name(kind)} (a number)")


def _name(kind: DataType) -> str:
    return kind.simpleString().upper()


def _kind(value: Any) -> str:
    if isinstance(value, list):
        return "an array"
    return f"the value {_shown(_text(value))}"


def _text(value: Any) -> str:
    """A JSON value as text, numbers as they were written."""
    if isinstance(value, str):
        return str(value)
    return compact(value)


def compact(value: Any) -> str:
    """A parsed JSON value as text again, without blanks, numbers as they were written."""
    if isinstance(value, Number):
        return str(value)
    if isinstance(value, dict):
        return (
            "{"
            + ",".join(f"{json.dumps(k, ensure_ascii=False)}:{compact(v)}" for k, v in value.items())
            + "}"
        )
    if isinstance(value, list):
        return "[" + ",".join(map(compact, value)) + "]"
    return json.dumps(value, ensure_ascii=False)


def _shown(text: str) -> str:
    return repr(text if len(text) <= _SHOWN else text[:_SHOWN] + "...")
