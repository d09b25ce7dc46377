"""Avro records by fastavro."""

from __future__ import annotations

import json
from typing import IO, Any

import pyarrow as pa

from tidemill.errors import SourceError
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
    LongType,
    MapType,
    StringType,
    StructField,
    StructType,
    TimestampNTZType,
    TimestampType,
    from_arrow,
    to_arrow,
    to_arrow_schema,
)


def library() -> Any:
    """fastavro, or a `SourceError` that says how to get it."""
    try:
        import fastavro
    except ImportError as error:
        raise SourceError(
            "format 'avro' needs fastavro; install it with: pip install 'tidemill[avro]'"
        ) from error
    return fastavro


def parsed(writer: str | None, schema: StructType) -> Any:
    """The writer's schema from its JSON text; without one, the Avro form of the columns."""
    try:
        return library().parse_schema(json.loads(writer) if writer else avro_schema(schema, "record"))
    except SourceError:
        raise
    except Exception as error:
        raise SourceError(f"option 'avroSchema' is no Avro schema: {error}") from error


def avro_schema(kind: DataType, name: str) -> Any:
    """The Avro schema that Spark's ``to_avro`` uses for a type, every field nullable unless its type says not."""
    match kind:
        case StructType(fields):
            made = [{"name": f.name, "type": _field(f, name)} for f in fields]
            return {"type": "record", "name": name, "fields": made}
        case ArrayType(element, nullable):
            inner = avro_schema(element, f"{name}_element")
            return {"type": "array", "items": [inner, "null"] if nullable else inner}
        case MapType(_, value, nullable):
            inner = avro_schema(value, f"{name}_value")
            return {"type": "map", "values": [inner, "null"] if nullable else inner}
        case DecimalType(precision, scale):
            return {"type": "bytes", "logicalType": "decimal", "precision": precision, "scale": scale}
    return _avro_atom(kind)


_LOGICAL: dict[type[DataType], tuple[str, str]] = {
    DateType: ("int", "date"),
    TimestampType: ("long", "timestamp-micros"),
    TimestampNTZType: ("long", "local-timestamp-micros"),
}
_PLAIN: dict[type[DataType], str] = {
    BooleanType: "boolean", LongType: "long", FloatType: "float", DoubleType: "double", StringType: "string",
    BinaryType: "bytes",
}  # fmt: skip


def _avro_atom(kind: DataType) -> Any:
    if type(kind) in _LOGICAL:
        base, word = _LOGICAL[type(kind)]
        return {"type": base, "logicalType": word}
    found = _PLAIN.get(type(kind)) or ("int" if isinstance(kind, IntegralType) else None)
    if found is None:
        raise SourceError(f"Avro has no form for {kind.simpleString()}")
    return found


def _field(f: StructField, parent: str) -> Any:
    inner = avro_schema(f.dataType, f"{parent}_{f.name}")
    return [inner, "null"] if f.nullable else inner


def spark_type(avro: Any, named: dict[str, Any] | None = None) -> DataType:
    """The column type of an Avro schema, as Spark reads it."""
    named = {} if named is None else named
    if isinstance(avro, list):
        rest = [a for a in avro if a != "null"]
        if len(rest) != 1:
            raise SourceError(f"Avro unions of several types have no column type: {avro}; give a schema")
        return spark_type(rest[0], named)
    if isinstance(avro, str):
        atoms = {"boolean": BooleanType(), "int": from_arrow(pa.int32()), "long": LongType(), "float": FloatType(),
                 "double": DoubleType(), "string": StringType(), "bytes": BinaryType()}  # fmt: skip
        return atoms[avro] if avro in atoms else spark_type(named[avro], named)
    if "name" in avro:
        named[avro["name"]] = avro
    match avro.get("logicalType"):
        case "decimal":
            return DecimalType(avro["precision"], avro.get("scale", 0))
        case "date":
            return DateType()
        case "timestamp-micros" | "timestamp-millis":
            return TimestampType()
        case "local-timestamp-micros" | "local-timestamp-millis":
            return TimestampNTZType()
    match avro["type"]:
        case "record":
            return StructType(StructField(f["name"], spark_type(f["type"], named)) for f in avro["fields"])
        case "array":
            return ArrayType(spark_type(avro["items"], named))
        case "map":
            return MapType(StringType(), spark_type(avro["values"], named))
        case "enum":
            return StringType()
        case "fixed":
            return BinaryType()
    return spark_type(avro["type"], named)


def record(stream: IO[bytes], writer: Any, schema: StructType) -> tuple[dict[str, Any], str | None]:
    """One record without a container; nulls and a reason if it cannot be read."""
    try:
        value = library().schemaless_reader(stream, writer)
    except Exception as error:
        return dict.fromkeys(
            schema.names
        ), f"not a record of the Avro schema: {error or type(error).__name__}"
    if stream.read(1):
        return dict.fromkeys(schema.names), "bytes follow the end of the Avro record"
    return fitted(value, schema)


def fitted(value: Any, schema: StructType) -> tuple[dict[str, Any], str | None]:
    """A decoded record's values as the schema's types, nulls and reasons where they do not fit."""
    row: dict[str, Any] = {}
    reasons = []
    for f in schema.fields:
        got = value.get(f.name) if isinstance(value, dict) else None
        try:
            row[f.name] = pa.scalar(_naive(got), to_arrow(f.dataType)).as_py()
        except (pa.ArrowException, TypeError, ValueError, OverflowError):
            row[f.name] = None
            reasons.append(f"column {f.name!r}: {got!r} is not {f.dataType.simpleString().upper()}")
    return row, "; ".join(reasons) or None


def _naive(value: Any) -> Any:
    """Instants lose their zone (they are UTC); enclosed values too."""
    if getattr(value, "tzinfo", None) is not None:
        return value.replace(tzinfo=None)
    if isinstance(value, dict):
        return {k: _naive(v) for k, v in value.items()}
    if isinstance(value, list):
        return [_naive(v) for v in value]
    return value


def table(rows: list[dict[str, Any]], schema: StructType) -> pa.Table:
    """Rows of fitted values as Arrow."""
    arrow = to_arrow_schema(schema)
    return pa.table(
        [pa.array([r[f.name] for r in rows], arrow.field(i).type) for i, f in enumerate(schema)], schema=arrow
    )
