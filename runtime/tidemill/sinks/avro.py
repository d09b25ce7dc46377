"""Rows as Avro, with the schemas that Spark writes."""

from __future__ import annotations

import decimal
import io
import json
from collections.abc import Callable
from typing import IO, Any

import pyarrow as pa

from tidemill.errors import SinkError
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
    IntegerType,
    LongType,
    MapType,
    ShortType,
    StringType,
    StructType,
    TimestampNTZType,
    TimestampType,
)

_ATOMS: dict[type[DataType], Any] = {
    BooleanType: "boolean", ByteType: "int", ShortType: "int", IntegerType: "int", LongType: "long",
    FloatType: "float", DoubleType: "double", StringType: "string", BinaryType: "bytes",
    DateType: {"type": "int", "logicalType": "date"},
    TimestampType: {"type": "long", "logicalType": "timestamp-micros"},
    TimestampNTZType: {"type": "long", "logicalType": "local-timestamp-micros"},
}  # fmt: skip


def avro_schema(kind: DataType, name: str, namespace: str) -> Any:
    """The Avro schema that Spark makes of a type; ``name`` is that of the record or fixed, if it is one."""
    match kind:
        case StructType(fields):
            inside = f"{namespace}.{name}" if namespace else name
            made = [
                {"name": f.name, "type": _nullable(avro_schema(f.dataType, f.name, inside), f.nullable)}
                for f in fields
            ]
            return {
                "type": "record",
                "name": name,
                **({"namespace": namespace} if namespace else {}),
                "fields": made,
            }
        case ArrayType(element):
            return {
                "type": "array",
                "items": _nullable(avro_schema(element, name, namespace), kind.containsNull),
            }
        case MapType(_, value):
            return {
                "type": "map",
                "values": _nullable(avro_schema(value, name, namespace), kind.valueContainsNull),
            }
        case DecimalType(precision, scale):
            return {"type": "bytes", "logicalType": "decimal", "precision": precision, "scale": scale}
    if type(kind) not in _ATOMS:
        raise SinkError(
            f"Avro cannot hold type {kind.simpleString()}; cast the column to one that it can, such as string"
        )
    return _ATOMS[type(kind)]


def _nullable(schema: Any, nullable: bool) -> Any:
    return [schema, "null"] if nullable else schema


class AvroWriter:
    """Writes rows of one schema, to container files or one datum at a time."""

    def __init__(self, schema: StructType, given: str | None, name: str, namespace: str) -> None:
        try:
            import fastavro
        except ImportError:
            raise SinkError("writing Avro needs fastavro; install tidemill[avro]") from None
        self._fastavro = fastavro
        self._plain = json.loads(given) if given else avro_schema(schema, name, namespace)
        self.schema = fastavro.parse_schema(self._plain)
        self._convert = [_converter(f.dataType) for f in schema.fields]
        self._names = schema.names

    def check_codec(self, codec: str) -> None:
        """Raise if a codec's library is not there; better now than in the first batch."""
        try:
            self._fastavro.writer(io.BytesIO(), self.schema, [], codec=codec)
        except ValueError as error:
            raise SinkError(f"Avro codec {codec}: {error}; install its library, or take deflate") from error

    def records(self, rows: pa.Table) -> list[dict[str, Any]]:
        columns = [
            column.to_pylist()
            if convert is None
            else [None if v is None else convert(v) for v in column.to_pylist()]
            for column, convert in zip(rows.columns, self._convert, strict=True)
        ]
        return [dict(zip(self._names, row, strict=True)) for row in zip(*columns, strict=True)]

    def container(self, rows: pa.Table, file: IO[bytes], codec: str) -> None:
        """A whole object container file."""
        out = io.BytesIO()
        self._fastavro.writer(out, self.schema, self.records(rows), codec=codec)
        file.write(out.getbuffer())

    def data(self, rows: pa.Table) -> pa.Array:
        """Each row as one bare datum, without a header: what Spark's ``to_avro`` gives."""
        found = []
        for record in self.records(rows):
            out = io.BytesIO()
            self._fastavro.schemaless_writer(out, self.schema, record)
            found.append(out.getvalue())
        return pa.array(found, pa.binary())


def _converter(kind: DataType) -> Callable[[Any], Any] | None:
    """What has to be done to values as Arrow gives them, nested ones included; None: nothing."""
    match kind:
        case TimestampType():
            import datetime as dt

            return lambda v: v.replace(tzinfo=dt.UTC)
        case MapType(_, value):
            inner = _converter(value)
            return lambda v: {k: x if inner is None or x is None else inner(x) for k, x in v}
        case ArrayType(element):
            each = _converter(element)
            return None if each is None else lambda v: [None if x is None else each(x) for x in v]
        case StructType(fields):
            inside = [(f.name, _converter(f.dataType)) for f in fields]
            return lambda v: {n: v[n] if c is None or v[n] is None else c(v[n]) for n, c in inside}
        case DecimalType(_, scale):
            return lambda v: v.quantize(decimal.Decimal(1).scaleb(-scale))
    return None
