"""JSON texts: read by a schema or by a path, and written."""

from __future__ import annotations

from typing import Any

from tidemill.errors import AnalysisException, ParseException, did_you_mean
from tidemill.kernel.functions import documents, jsonpaths
from tidemill.kernel.functions.jsonschema import infer
from tidemill.plan.casts import sql_name
from tidemill.plan.functions.registry import Call, Function, add, define, special
from tidemill.plan.jsonreading import JsonReading, sound, text_doubt
from tidemill.plan.jsonwriting import JsonWriting
from tidemill.plan.rendering import let
from tidemill.plan.typed import Typed, quote_text, text_literal
from tidemill.types import (
    ArrayType,
    DataType,
    MapType,
    NullType,
    StringType,
    StructField,
    StructType,
    ddl,
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
    value = call.arg(index).value
    if not isinstance(value, str):
        raise AnalysisException(
            f"{call.name}(): the schema must be a string constant, or schema_of_{call.name.removeprefix('from_')}() of one",
            "INVALID_SCHEMA.NON_STRING_LITERAL",
        )
    text = value.strip()
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
    "CASE WHEN json_valid({0}) THEN CASE WHEN TRY(json_type({0})) = 'ARRAY' THEN CAST(TRY(json_array_length({0})) AS INTEGER) END "
    "ELSE tm_json_array_length({0}) END",
    nullable=True,
)


@special("get_json_object", least=2, most=2)
def _get_json_object(call: Call) -> Typed:
    text, path = call.coerced(0, StringType()), call.coerced(1, StringType())
    native = duck_path(path.value) if isinstance(path.value, str) else None
    if native is None:
        return Typed(f"tm_get_json_object({text.sql}, {path.sql})", StringType(), True)
    return Typed(
        let(text.sql, lambda x: found_at(x, native, f"tm_get_json_object({x}, {path.sql})")),
        StringType(),
        True,
    )


add(Function("json_tuple", "generator", arity=(2, None)))


def duck_path(path: str) -> str | None:
    """The same path for DuckDB; None for those that only the kernel follows."""
    steps = jsonpaths.steps(path)
    if not steps or isinstance(steps[-1], int):  # an element that is null is the text 'null'
        return None
    found = "$"
    for step in steps:
        if isinstance(step, int):
            found += f"[{step}]"
        elif isinstance(step, str) and '"' not in step and "*" not in step:
            found += f'."{step}"'
        else:
            return None
    return found


def field_text(text: Typed, key: Typed) -> str:
    """A field of the outermost object as json_tuple() gives it."""
    slow = f"tm_json_field({text.sql}, {key.sql})"
    if not isinstance(key.value, str) or not key.value or '"' in key.value or "*" in key.value:
        return slow
    native = f'$."{key.value}"'
    return let(text.sql, lambda x: found_at(x, native, slow))


def found_at(x: str, native: str, slow: str) -> str:
    """What a path leads to in the text ``x``; ``slow`` is asked where DuckDB's answer may be another than Spark's."""
    answer = f"json_extract_string({x}, {quote_text(native)})"
    certain = f"CASE WHEN {text_doubt('f_')} THEN {slow} ELSE f_ END"
    return f"CASE WHEN {sound(x)} THEN list_transform([{answer}], lambda f_: {certain})[1] ELSE {slow} END"


@special("schema_of_json", least=1, most=2)
def _schema_of_json(call: Call) -> Typed:
    text = call.literal(0)
    given_options(call, 1)
    found = infer(text) if isinstance(text, str) else None
    if found is None:
        raise AnalysisException(
            f"schema_of_json(): {text!r} is no JSON text; pass an example like '{{\"a\": 1}}'",
            "INVALID_JSON_SCHEMA",
        )
    return text_literal(ddl(found))


# --- writing --------------------------------------------------------------------------------------------------------

_WRITING = ("ignorenullfields", "dateformat", "timestampformat", "timestampntzformat", "timezone")


@special("to_json", least=1, most=2)
def _to_json(call: Call) -> Typed:
    value = call.arg(0)
    if not isinstance(value.type, (StructType, ArrayType, MapType)):
        raise call.mismatch("be a struct, an array or a map")
    options = {k: v for k, v in given_options(call, 1).items() if k in _WRITING}
    writing = JsonWriting(options, call.settings)
    return Typed(f"CAST({writing.text(value.sql, value.type)} AS VARCHAR)", StringType(), value.nullable)


__all__ = [
    "duck_path",
    "field_text",
    "found_at",
    "given_options",
    "nullable",
    "reading_options",
    "written_schema",
]
