"""JSON texts: read by a schema or by a path, and written."""

from __future__ import annotations

from typing import Any

from tidemill.errors import AnalysisException, ParseException, did_you_mean
from tidemill.kernel.functions import documents
from tidemill.plan.casts import sql_name
from tidemill.plan.functions.registry import Call, define, special
from tidemill.plan.jsonreading import JsonReading
from tidemill.plan.typed import Typed, quote_text
from tidemill.types import (
    ArrayType,
    DataType,
    MapType,
    NullType,
    StringType,
    StructField,
    StructType,
    from_json_value,
    parse_ddl,
    parse_type,
)

# --- reading by a schema --------------------------------------------------------------------------------------------

_IGNORED = ("locale", "multiline", "linesep", "encoding", "charset", "samplingratio", "compression", "ignorenullfields",
            "inferTimestamp", "prefersdecimal", "primitivesasstring")  # fmt: skip
"""Options that change nothing in a text with a schema."""


@special("from_json", least=2, most=3)
def _from_json(call: Call) -> Typed:
    text = call.arg(0)
    if not isinstance(text.type, (StringType, NullType)):
        raise call.mismatch("begin with a string")
    kind = nullable(written_schema(call, 1))
    _check(kind)
    options = reading_options(call, 2)
    text = call.coerced(0, StringType())
    return Typed(JsonReading(kind, options, call.settings).render(text.sql), kind, True)


def written_schema(call: Call, index: int) -> DataType:
    """The schema that a literal writes as DDL or JSON."""
    text = str(call.literal(index)).strip()
    if text[:1] in ("{", '"'):
        import json

        try:
            return from_json_value(json.loads(text))
        except (ValueError, KeyError, TypeError):
            raise ParseException(
                f"{call.name}(): the schema {text!r} is no JSON of a data type", "INVALID_SCHEMA"
            ) from None
    try:
        return parse_type(text)
    except ParseException:
        return parse_ddl(text)


def nullable(kind: DataType) -> DataType:
    """The type with every part nullable, since a text may lack any of them."""
    match kind:
        case StructType(fields):
            return StructType(StructField(f.name, nullable(f.dataType), True, f.metadata) for f in fields)
        case ArrayType(element):
            return ArrayType(nullable(element), True)
        case MapType(key, value):
            return MapType(key, nullable(value), True)
    return kind


def _check(kind: DataType) -> None:
    if not isinstance(kind, (StructType, ArrayType, MapType)):
        raise AnalysisException(
            f"from_json(): the schema must be a struct, an array or a map, not {sql_name(kind)}; write it like 'a INT, b STRING'",
            "DATATYPE_MISMATCH.INVALID_JSON_SCHEMA",
        )
    if isinstance(kind, MapType) and not isinstance(kind.keyType, StringType):
        raise AnalysisException(
            f"from_json(): the keys of a map in JSON are strings, not {sql_name(kind.keyType)}",
            "DATATYPE_MISMATCH.INVALID_JSON_MAP_KEY_TYPE",
        )


def given_options(call: Call, index: int) -> dict[str, str]:
    """Options from a map of literals, their names in lower case."""
    if index >= len(call):
        return {}
    from sqlglot import exp

    node = call.nodes[index]
    if not isinstance(node, exp.Anonymous) or str(node.this).lower() not in ("map", "create_map"):
        raise AnalysisException(
            f"the options of {call.name}() must be a map of constants like map('mode', 'FAILFAST')",
            "INVALID_OPTIONS.NON_MAP_FUNCTION",
        )
    values: list[Any] = [call.compiler.compile(e).value for e in node.expressions]
    if any(not isinstance(v, str) for v in values):
        raise AnalysisException(
            f"the options of {call.name}() must be a map of string constants",
            "INVALID_OPTIONS.NON_STRING_TYPE",
        )
    return {k.lower(): v for k, v in zip(values[::2], values[1::2], strict=True)}


def reading_options(call: Call, index: int) -> dict[str, str]:
    """What of the options matters here; what we cannot heed is refused."""
    options = given_options(call, index)
    mode = options.get("mode", "PERMISSIVE").upper()
    if mode not in ("PERMISSIVE", "FAILFAST"):
        raise AnalysisException(
            f"{call.name}() does not support the mode {mode}; use PERMISSIVE or FAILFAST",
            "PARSE_MODE_UNSUPPORTED",
        )
    known = (*documents.OPTIONS, "timezone")
    for name in options:
        if name not in known and (name.startswith("allow") or name == "primitivesasstring"):
            raise AnalysisException(
                f"{call.name}(): option {name!r} is not supported{did_you_mean(name, known)}",
                "UNSUPPORTED_FEATURE.OPTION",
            )
    return {k: v for k, v in options.items() if k in known}


# --- reading by a path ----------------------------------------------------------------------------------------------

define(
    "json_object_keys", "string -> array<string>", "tm_json_object_keys({0})", kind="kernel", nullable=True
)
define(
    "json_array_length",
    "string -> int",
    "CASE WHEN json_valid({0}) THEN CASE WHEN json_type({0}) = 'ARRAY' THEN CAST(json_array_length({0}) AS INTEGER) END "
    "ELSE tm_json_array_length({0}) END",
    nullable=True,
)

__all__ = ["given_options", "nullable", "quote_text", "reading_options", "written_schema"]
