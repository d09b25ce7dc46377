"""The rules that no field can say by itself, for people: each looks at one part and names what is wrong.

The same rules in CEL, for the API server, stand with the models. Parts come as they were written, with whatever other
mistakes they have; what is absent or of a wrong type is passed over here, because it is said elsewhere.
"""

from __future__ import annotations

from collections.abc import Iterator

from tidemill.api.base import Finding, Raw, part, parts, text
from tidemill.api.formats import SINKS, SOURCES, given, is_true, own_columns
from tidemill.api.moments import parse_stop_at
from tidemill.errors import PySparkException, did_you_mean
from tidemill.types import parse_ddl

FILE_SINKS = [name for name, format in SINKS.items() if format.writes_files]

METADATA_TYPES: dict[str, str] = {
    "key": "BINARY",
    "topic": "STRING",
    "partition": "INT",
    "offset": "BIGINT",
    "timestamp": "TIMESTAMP",
    "timestampType": "INT",
    "headers": "ARRAY<STRUCT<key: STRING, value: BINARY>>",
}
"""The types of the columns that ``decode.metadata`` adds: Spark's of a Kafka source."""

# --- Sources ---------------------------------------------------------------------------------------------------------


def check_corrupt_column(raw: Raw) -> Iterator[Finding]:
    name = text(raw, "columnNameOfCorruptRecord")
    columns = column_types(text(raw, "schema"))
    if name is None or columns is None:
        return
    where = ("columnNameOfCorruptRecord",)
    if name not in columns:
        yield (
            where,
            f"{name!r} is no column of the schema; add '{name} STRING' to it{did_you_mean(name, columns)}",
        )
    elif columns[name] != "string":
        yield (
            where,
            f"column {name!r} is {columns[name].upper()} in the schema; it takes a record's text: make it STRING",
        )


def check_decoded_columns(raw: Raw) -> Iterator[Finding]:
    """The names of decoded and metadata columns differ, and text has one column to go to."""
    columns = column_types(text(raw, "schema"))
    if columns is None:
        return
    lower = {name.lower() for name in columns}
    metadata = raw.get("metadata")
    for i, name in enumerate(metadata if isinstance(metadata, list) else ()):
        if isinstance(name, str) and name.lower() in lower:
            yield ("metadata", i), f"{name!r} is a column of the schema too; leave one of them out"
    if text(raw, "format") == "text" and list(columns.values()) != ["string"]:
        yield ("schema",), "text decodes into one STRING column, like 'line STRING'"


def column_types(ddl: str | None) -> dict[str, str] | None:
    """Column names and types of ``ddl``; None where it is absent or wrong, which is said elsewhere."""
    if ddl is None:
        return None
    try:
        return {field.name: field.dataType.simpleString() for field in parse_ddl(ddl)}
    except (PySparkException, ValueError, KeyError, TypeError):
        return None


def source_columns(raw: Raw) -> dict[str, str] | None:
    """Names and types of a source's columns, as far as the manifest tells."""
    if "decode" in raw:
        decoded = column_types(text(part(raw, "decode"), "schema"))
        metadata = part(raw, "decode").get("metadata")
        kept = [m for m in metadata if isinstance(m, str)] if isinstance(metadata, list) else []
        added = {name: METADATA_TYPES[name].lower() for name in kept if name in METADATA_TYPES}
        return None if decoded is None else decoded | added
    if "schema" in raw:
        return column_types(text(raw, "schema"))
    format = text(raw, "format")
    return column_types(own_columns(format, part(raw, "options"))) if format and format in SOURCES else None


def check_shape(raw: Raw) -> Iterator[Finding]:
    """``schema`` or ``decode``: what the format needs and what it can take."""
    name = text(raw, "format")
    if name is None or name not in SOURCES:
        return
    format = SOURCES[name]
    if "schema" in raw and "decode" in raw:
        yield ("decode",), "give either schema (of files) or decode (of records), not both"
        return
    if format.columns is None and "schema" not in raw:
        yield (
            ("schema",),
            f"a {name} source needs a schema, like schema: 'a INT, b STRING'; files to come cannot be asked",
        )
    if "decode" in raw and not format.decodes:
        yield (
            ("decode",),
            f"{name} has columns already; decode is for kafka, socket and text"
            + (": write a schema instead" if format.columns is None else ""),
        )
    if "schema" in raw and format.columns is not None and name != "text":
        instead = "say the columns of its value in decode.schema" if format.decodes else "leave schema out"
        yield ("schema",), f"a {name} source has columns of its own ({format.columns}); {instead}"
    metadata = part(raw, "decode").get("metadata")
    if not isinstance(metadata, list):
        return
    if name != "kafka" and metadata:
        told = f"a {name} source has no records with {', '.join(METADATA_TYPES)}; only kafka has"
        yield ("decode", "metadata"), told
    elif "headers" in metadata and not is_true(part(raw, "options"), "includeHeaders"):
        yield ("decode", "metadata"), "headers are read only with the option includeHeaders: true"


def check_dead_letter(raw: Raw) -> Iterator[Finding]:
    if (
        "deadLetter" in raw
        and "decode" not in raw
        and text(raw, "format") not in ("csv", "json", "avro", None)
    ):
        yield ("deadLetter",), "a dead letter takes what cannot be decoded; this source decodes nothing"


def check_event_time(raw: Raw) -> Iterator[Finding]:
    name = text(part(raw, "watermark"), "eventTime")
    columns = source_columns(raw)
    if name is None or columns is None:
        return
    by_lower = {column.lower(): kind for column, kind in columns.items()}
    if name.lower() not in by_lower:
        yield ("watermark", "eventTime"), _no_column(name, columns)
    elif by_lower[name.lower()] not in ("timestamp", "timestamp_ntz"):
        yield (
            ("watermark", "eventTime"),
            f"column {name!r} is {by_lower[name.lower()].upper()}; event time is a TIMESTAMP",
        )


def check_duplicates(raw: Raw) -> Iterator[Finding]:
    drop = part(raw, "dropDuplicates")
    if drop.get("withinWatermark") is True and "watermark" not in raw:
        yield (
            ("dropDuplicates", "withinWatermark"),
            "it needs a watermark on the source, whose delay says how long keys are kept",
        )
    columns = source_columns(raw)
    names = drop.get("columns")
    if columns is None or not isinstance(names, list):
        return
    known = {column.lower() for column in columns}
    for i, name in enumerate(names):
        if isinstance(name, str) and name.lower() not in known:
            yield ("dropDuplicates", "columns", i), _no_column(name, columns)


def _no_column(name: str, columns: dict[str, str]) -> str:
    hint = did_you_mean(name, columns)
    return f"{name!r} is no column of this source" + (hint or f"; its columns: {', '.join(columns)}")


# --- Queries ---------------------------------------------------------------------------------------------------------


def exactly_one(raw: Raw, *names: str) -> Iterator[Finding]:
    """The rule of objects that are a choice."""
    found = [name for name in names if name in raw]
    choice = f"{', '.join(names[:-1])} and {names[-1]}"
    if not found:
        yield (), f"give exactly one of {choice}"
    elif len(found) > 1:
        yield (), f"give exactly one of {choice}, not {' and '.join(found)} together"


def check_trigger(raw: Raw) -> Iterator[Finding]:
    yield from exactly_one(raw, "processingTime", "once", "availableNow")


def check_program(raw: Raw) -> Iterator[Finding]:
    yield from exactly_one(raw, "file", "inline", "configMap")


def check_partition_by(raw: Raw) -> Iterator[Finding]:
    format = text(raw, "format")
    if raw.get("partitionBy") and format in SINKS and format not in FILE_SINKS:
        yield (
            ("partitionBy",),
            f"{format} has no directories to divide; partitionBy is for {', '.join(FILE_SINKS)}",
        )


def check_encode(raw: Raw) -> Iterator[Finding]:
    format = text(raw, "format")
    if "encode" in raw and format in SINKS and format != "kafka":
        yield ("encode",), f"{format} writes columns; encode is for kafka"
    elif "encode" in raw and format == "kafka" and not given(part(raw, "options"), "topic"):
        yield (
            ("options",),
            "encode makes one record of all columns, so the option 'topic' has to say where it goes",
        )


def check_key(raw: Raw) -> Iterator[Finding]:
    format, key = text(raw, "format"), raw.get("key")
    if not isinstance(key, list) or not key or format not in SINKS:
        return
    if format != "kafka":
        yield ("key",), f"{format} has no keys; key is for kafka"
    elif "encode" not in raw:
        yield (
            ("key",),
            "without encode the query's own column `key` is the record's key; add encode, or leave key out",
        )
    elif len(key) > 1 and part(raw, "encode").get("keyFormat", "text") == "text":
        yield (
            ("encode", "keyFormat"),
            f"text holds one column, and key has {len(key)}; write keyFormat: json or avro",
        )


def check_mode(raw: Raw) -> Iterator[Finding]:
    format, mode = text(part(raw, "sink"), "format"), text(raw, "outputMode")
    if format in FILE_SINKS and mode in ("update", "complete"):
        yield (
            ("outputMode",),
            (
                f"a {format} sink takes append only, not {mode}: files that readers have seen cannot change; "
                "append a windowed aggregation with a watermark, or write to kafka"
            ),
        )


# --- Jobs ---------------------------------------------------------------------------------------------------------

LOCATIONS = [
    "file",
    "redis",
    "rediss",
    "redis+sentinel",
    "rediss+sentinel",
    "redis+cluster",
    "rediss+cluster",
]
_PARTS_OF_QUERIES = ("sources", "tables", "functions", "queries")


def check_kind_of_job(raw: Raw) -> Iterator[Finding]:
    """Sources and queries, or a program."""
    if "program" in raw:
        too_many = [key for key in _PARTS_OF_QUERIES if raw.get(key)]
        for key in too_many:
            yield (key,), "a program has sources and queries of its own; leave either the program or this out"
    elif "queries" not in raw:
        yield (), "it computes nothing; give queries (with a name, sql and a sink) or a program"
    elif raw["queries"] == []:
        yield ("queries",), "it is empty; give at least one query, or a program"


def check_names(raw: Raw) -> Iterator[Finding]:
    """Sources, tables and queries share one name space, as views do in Spark: without regard to case."""
    for keys in (("sources", "tables", "queries"), ("functions",)):
        seen: dict[str, str] = {}
        for key in keys:
            for i, item in parts(raw, key):
                name = text(item, "name")
                if name is None:
                    continue
                here = f"{key}[{i}]"
                first = seen.setdefault(name.lower(), here)
                if first != here:
                    yield (
                        (key, i, "name"),
                        f"{name!r} is also the name of {first}; SQL could not tell them apart",
                    )


def check_location(raw: Raw) -> Iterator[Finding]:
    """The scheme of a checkpoint's location, if it has one."""
    scheme, slashes, _ = (text(raw, "location") or "").partition("://")
    if slashes and "${" not in scheme and scheme not in LOCATIONS:
        hint = (
            did_you_mean(scheme, LOCATIONS) or f"; known: {', '.join(LOCATIONS)}, or a directory without any"
        )
        yield ("location",), f"a checkpoint cannot be kept at {scheme}://{hint}"


def check_stop_at(raw: Raw) -> Iterator[Finding]:
    """The time and its zone."""
    value = text(raw, "stopAt")
    if value is not None:
        try:
            parse_stop_at(value)
        except ValueError as error:
            yield ("stopAt",), str(error)
