"""JSON and CSV in text columns."""

from __future__ import annotations

from collections.abc import Mapping

from tidemill.sql.arguments import wrong_type
from tidemill.sql.column import Column, ColumnOrName
from tidemill.sql.functions.building import call, lit, option_map, schema_text
from tidemill.types import DataType


def from_csv(col: ColumnOrName, schema: Column | str, options: Mapping[str, str] | None = None) -> Column:
    """A line of CSV as a struct of ``schema``; what does not fit is null."""
    if not isinstance(schema, (Column, str)):
        wrong_type("schema", "Column or str", schema)
    return call("from_csv", col, schema_text(schema), option_map(options))


def from_json(
    col: ColumnOrName,
    schema: DataType | Column | str,
    options: Mapping[str, str] | None = None,
) -> Column:
    """JSON text as a struct, array or map of ``schema``; what does not fit is null."""
    return call("from_json", col, schema_text(schema), option_map(options))


def get_json_object(col: ColumnOrName, path: str) -> Column:
    """The value at a path such as ``$.a.b`` in JSON text, as text."""
    return call("get_json_object", col, lit(path))


def json_array_length(col: ColumnOrName) -> Column:
    """How many elements the outermost JSON array has."""
    return call("json_array_length", col)


def json_object_keys(col: ColumnOrName) -> Column:
    """The keys of the outermost JSON object."""
    return call("json_object_keys", col)


def json_tuple(col: ColumnOrName, *fields: str) -> Column:
    """Some fields of JSON text as columns named c0, c1, ..."""
    return call("json_tuple", col, *map(lit, fields))


def schema_of_csv(csv: Column | str, options: Mapping[str, str] | None = None) -> Column:
    """The schema of one line of CSV, as DDL."""
    return call("schema_of_csv", lit(csv), option_map(options))


def schema_of_json(json: Column | str, options: Mapping[str, str] | None = None) -> Column:
    """The schema of one JSON text, as DDL."""
    return call("schema_of_json", lit(json), option_map(options))


def to_csv(col: ColumnOrName, options: Mapping[str, str] | None = None) -> Column:
    """A struct as a line of CSV."""
    return call("to_csv", col, option_map(options))


def to_json(col: ColumnOrName, options: Mapping[str, str] | None = None) -> Column:
    """A struct, array or map as JSON text, without fields that are null."""
    return call("to_json", col, option_map(options))


__all__ = [
    "from_csv",
    "from_json",
    "get_json_object",
    "json_array_length",
    "json_object_keys",
    "json_tuple",
    "schema_of_csv",
    "schema_of_json",
    "to_csv",
    "to_json",
]
