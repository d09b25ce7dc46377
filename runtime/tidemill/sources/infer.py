"""Schemas that nobody gave: from partition directories, and from the files of a batch read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import duckdb
import pyarrow as pa

from tidemill.errors import AnalysisException, SourceError
from tidemill.kernel import avro, fields, tokens
from tidemill.kernel.records import Bad, TextRules, text_value
from tidemill.sources.listing import File, partition_values
from tidemill.sources.options import Options
from tidemill.types import (
    BooleanType,
    DataType,
    DateType,
    DoubleType,
    IntegerType,
    LongType,
    StringType,
    StructField,
    StructType,
    TimestampType,
    from_arrow,
)

_PARTITION_KINDS: Sequence[DataType] = (IntegerType(), LongType(), DoubleType(), DateType(), TimestampType())
_CSV_KINDS: Sequence[DataType] = (
    IntegerType(),
    LongType(),
    DoubleType(),
    DateType(),
    TimestampType(),
    BooleanType(),
)


def partition_schema(found: Sequence[File], bases: list[str], user_schema: StructType | None) -> StructType:
    """The columns of ``key=value`` directories: of the user's type where the user names one, else of the narrowest
    that holds all values."""
    values: dict[str, list[str]] = {}
    for file in found:
        for key, value in partition_values(file.path, bases).items():
            values.setdefault(key, [])
            if value is not None:
                values[key].append(value)
    given = {f.name: f for f in user_schema.fields} if user_schema else {}
    return StructType(
        given.get(k) or StructField(k, narrowest(list(dict.fromkeys(v)), _PARTITION_KINDS))
        for k, v in values.items()
    )


def narrowest(texts: Sequence[str], kinds: Sequence[DataType]) -> DataType:
    """The first type that holds all texts; STRING if there are none or none does."""
    rules = TextRules()
    for kind in kinds:
        # A bare number is a year to Spark's cast; as a type of a column it stays a number.
        dated = not isinstance(kind, DateType | TimestampType) or all(
            len(t) >= 8 and "-" in t[1:] for t in texts
        )
        day = not isinstance(kind, DateType) or all(len(t) <= 10 for t in texts)
        if texts and dated and day and not any(isinstance(text_value(t, kind, rules), Bad) for t in texts):
            return kind
    return StringType()


def infer(format: str, options: Options, found: Sequence[File], readers: Mapping[str, Any]) -> StructType:
    """The schema that the files themselves show."""
    if format == "text":
        return StructType([StructField("value", StringType())])
    if format == "avro" and options.text("avroSchema"):
        return _record(avro.parsed(options.text("avroSchema"), StructType()))
    if not found:
        raise AnalysisException(
            f"Unable to infer schema for {format.upper()}: no file with content was found at "
            f"{options.text('path')!r}. It must be specified manually.",
            "UNABLE_TO_INFER_SCHEMA",
        )
    if format in ("parquet", "orc"):
        return _columnar(format, found)
    if format == "avro":
        with open(found[0].path, "rb") as stream:
            return _record(avro.library().reader(stream).writer_schema)
    return (
        _json(options, found, readers["json"]) if format == "json" else _csv(options, found, readers["csv"])
    )


def _record(schema: Any) -> StructType:
    kind = avro.spark_type(schema)
    if not isinstance(kind, StructType):
        raise SourceError(f"an Avro file of {kind.simpleString()} has no columns; only records can be read")
    return kind


def _columnar(format: str, found: Sequence[File]) -> StructType:
    if format == "parquet":
        import pyarrow.parquet as parquet

        arrow = parquet.read_schema(found[0].path)
    else:
        from pyarrow import orc

        arrow = orc.ORCFile(found[0].path).schema
    return StructType(StructField(f.name, from_arrow(f.type)) for f in arrow)


def _json(options: Options, found: Sequence[File], reader: Any) -> StructType:
    """DuckDB looks at every record; columns stand in alphabetical order, as Spark has them."""
    from tidemill.sources.readers import paths_sql

    shape = "auto" if options.flag("multiLine") else "newline_delimited"
    try:
        rows = tokens.cursor().sql(
            f"SELECT * FROM read_json({paths_sql([f.path for f in found])}, sample_size = -1, union_by_name = true, "
            f"format = '{shape}', ignore_errors = {shape != 'auto'}, map_inference_threshold = -1, "
            "hive_partitioning = false) LIMIT 0"
        )
        arrow = rows.to_arrow_table().schema
    except duckdb.Error as error:
        raise SourceError(
            f"no schema can be inferred from {options.text('path')!r}: {error}; give one"
        ) from error
    text = options.flag("primitivesAsString")
    columns = [StructField(f.name, StringType() if text else _json_kind(f.type)) for f in arrow]
    return StructType(sorted(columns, key=lambda f: f.name))


def _json_kind(kind: pa.DataType) -> DataType:
    """As Spark infers: no dates or times in JSON, every whole number is a BIGINT."""
    if pa.types.is_struct(kind):
        return StructType(
            sorted((StructField(f.name, _json_kind(f.type)) for f in kind), key=lambda f: f.name)
        )
    if pa.types.is_list(kind):
        from tidemill.types import ArrayType

        return ArrayType(_json_kind(kind.value_type))
    if pa.types.is_integer(kind):
        return LongType()
    if pa.types.is_floating(kind):
        return DoubleType()
    return BooleanType() if pa.types.is_boolean(kind) else StringType()


def _csv(options: Options, found: Sequence[File], reader: Any) -> StructType:
    """Names from the header (or ``_c0``, ``_c1``, ...); all STRING unless ``inferSchema``."""
    layout = fields.csv_layout(options.given)
    names_reader = reader(
        Options("csv", {**options.given, "header": "false"}, (*options.given, "header")), StructType()
    )
    first, _ = names_reader.records(found[0])
    if not len(first):
        return StructType()
    cells = fields.cut(first[0].as_py().decode(), layout)
    if isinstance(cells, Bad):
        raise SourceError(f"file {found[0].path}: the first line cannot be cut into fields: {cells.reason}")
    names = [(c.text if layout.header else "") or f"_c{i}" for i, c in enumerate(cells)]
    everything = StructType(StructField(n, StringType()) for n in names)
    if not options.flag("inferSchema"):
        return everything
    rows = reader(options, everything).read(found).rows
    return StructType(StructField(n, narrowest(_seen(rows.column(n)), _CSV_KINDS)) for n in names)


def _seen(column: pa.ChunkedArray) -> list[str]:
    return [v for v in column.unique().to_pylist() if v is not None]
