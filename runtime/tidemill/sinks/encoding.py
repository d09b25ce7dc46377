"""Rows as Kafka records: Spark's column names taken as they are, or columns encoded as ``value`` and ``key``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from tidemill.errors import AnalysisException, did_you_mean
from tidemill.kernel import encode
from tidemill.sinks.fileformats import csv_form
from tidemill.sinks.options import Options
from tidemill.sinks.partitions import position
from tidemill.types import (
    ArrayType,
    BinaryType,
    DataType,
    IntegerType,
    MapType,
    StringType,
    StructField,
    StructType,
)

HEADERS = ArrayType(StructType([StructField("key", StringType()), StructField("value", BinaryType())]))
_TYPES: dict[str, tuple[DataType, ...]] = {
    "topic": (StringType(),),
    "key": (StringType(), BinaryType()),
    "value": (StringType(), BinaryType()),
    "headers": (HEADERS,),
    "partition": (IntegerType(),),
}


@dataclass(frozen=True)
class Encoding:
    """How rows become records: what a manifest's ``encode`` and ``key`` say."""

    format: str = "json"
    """Of ``value``: json, csv or avro; it holds all columns, those of the key included."""
    key: tuple[str, ...] = ()
    """The columns that name a row; empty: records without a key."""
    key_format: str = "text"
    """Of ``key``: text (one column), json or avro (an object of the key's columns)."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """Spark's options of ``to_json``, ``to_csv`` and ``to_avro``."""


class Records:
    """Makes records, a table of some of topic, key, value, headers and partition, of a query's rows."""

    def __init__(self, schema: StructType, topic: str | None, headers: bool) -> None:
        self._wanted = {n: i for n in _TYPES for i, f in enumerate(schema.fields) if f.name.lower() == n}
        if not headers:
            self._wanted.pop("headers", None)
        if topic:
            self._wanted.pop("topic", None)
        for name, i in self._wanted.items():
            _check_type(name, schema.fields[i].dataType)
        if "value" not in self._wanted:
            raise AnalysisException(
                "Required attribute 'value' not found; make one, such as to_json(struct(*)) AS value"
                f"{did_you_mean('value', schema.names)}"
            )
        if not topic and "topic" not in self._wanted:
            raise AnalysisException(
                "topic option required when no 'topic' attribute is present. Use the topic option for setting a topic."
            )

    def __call__(self, rows: pa.Table) -> pa.Table:
        return pa.table({name: rows.column(i) for name, i in self._wanted.items()})


class EncodedRecords:
    """Makes records by an `Encoding`."""

    def __init__(self, schema: StructType, encoding: Encoding, time_zone: str) -> None:
        self.schema, self.encoding = schema, encoding
        for name in encoding.key:
            if name.lower() not in (n.lower() for n in schema.names):
                raise AnalysisException(
                    f"key column {name!r} is not one of the query's: {', '.join(schema.names)}"
                    f"{did_you_mean(name, schema.names)}"
                )
        if encoding.key_format == "text" and len(encoding.key) > 1:
            raise AnalysisException(
                f"a key of format text holds one column, not {', '.join(encoding.key)}; "
                "take json or avro for the key"
            )
        self._key = [position(schema, name) for name in encoding.key]
        key_schema = StructType(schema.fields[i] for i in self._key)
        options = Options("csv" if encoding.format == "csv" else "json", encoding.options)
        self._value = _encoder(encoding.format, schema, options, time_zone)
        self._make_key = _encoder(encoding.key_format, key_schema, options, time_zone) if self._key else None

    def __call__(self, rows: pa.Table) -> pa.Table:
        columns = {"value": self._value(rows)}
        if self._make_key:
            columns["key"] = self._make_key(rows.select(self._key))
        return pa.table(columns)


def _encoder(format: str, schema: StructType, options: Options, time_zone: str) -> Any:
    form = encode.TextForm(time_zone, options.flag("ignoreNullFields", True))
    match format:
        case "json":
            return lambda rows: encode.json_lines(rows, schema, form)
        case "csv":
            _refuse_nesting(schema)
            csv = csv_form(options, line_end="")
            return lambda rows: encode.csv_lines(rows, schema, csv, form)
        case "text":
            _refuse_nesting(schema)
            kind = schema.fields[0].dataType
            if isinstance(kind, BinaryType):
                return lambda rows: rows.column(0)
            return lambda rows: encode.plain_texts(rows.column(0), kind, form)
        case "avro":
            from tidemill.sinks.avro import AvroWriter

            writer = AvroWriter(
                schema, options.get("avroSchema"), options.text("recordName", "topLevelRecord"), ""
            )
            return lambda rows: writer.data(rows)
    known = ("json", "csv", "avro", "text")
    raise AnalysisException(
        f"encode: {format!r} is not one of {', '.join(known)}{did_you_mean(format, known)}"
    )


def _check_type(name: str, kind: DataType) -> None:
    wanted = _TYPES[name]
    if not any(w == kind or w.simpleString() == kind.simpleString() for w in wanted):
        raise AnalysisException(
            f"{name} attribute unsupported type {kind.simpleString()}. "
            f"{name} must be a(n) {' or '.join(w.simpleString() for w in wanted)}; cast it"
        )


def _refuse_nesting(schema: StructType) -> None:
    for f in schema.fields:
        if isinstance(f.dataType, ArrayType | MapType | StructType):
            raise AnalysisException(
                f"column {f.name!r} of type {f.dataType.simpleString()} has no plain text; encode as json or avro"
            )
