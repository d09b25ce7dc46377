"""What ``createDataFrame`` takes, as Arrow columns and their schema."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import pyarrow as pa

from tidemill.errors import ParseException, PySparkTypeError, PySparkValueError
from tidemill.sql.inference import infer_schema
from tidemill.sql.ingest import table_of
from tidemill.types import (
    DataType,
    StructField,
    StructType,
    TimestampType,
    from_arrow,
    parse_ddl,
    parse_type,
    to_arrow,
    to_arrow_schema,
)

Schema = DataType | str | Sequence[str] | None


def local_rows(data: Any, schema: Schema, time_zone: str, verify: bool = True) -> tuple[pa.Table, StructType]:
    """``data`` as a table in the engine's own types and its schema.

    ``data``: an iterable of rows (tuples, lists, dicts, Rows, objects, or plain values under a plain type), a pandas
    DataFrame, an Arrow table, or a numpy array. ``schema``: a type, DDL text, the column names, or None to infer it.
    Raises `PySparkTypeError` and `PySparkValueError` for what does not fit.
    """
    wanted = parse_schema(schema)
    if isinstance(data, (pa.Table, pa.RecordBatch)):
        table = data if isinstance(data, pa.Table) else pa.Table.from_batches([data])
        return _from_arrow(table, wanted, time_zone, naive_is_local=False)
    kind = f"{type(data).__module__.partition('.')[0]}.{type(data).__name__}"
    if kind == "pandas.DataFrame":
        return _from_arrow(
            pa.Table.from_pandas(data, preserve_index=False), wanted, time_zone, naive_is_local=True
        )
    if kind == "numpy.ndarray":
        return _from_arrow(_from_numpy(data), wanted, time_zone, naive_is_local=True)
    if isinstance(data, (str, bytes, dict)) or not isinstance(data, Iterable):
        raise PySparkTypeError(
            f"Argument `data` should be a list of rows, a pandas DataFrame, an Arrow table or a numpy array, got "
            f"{type(data).__name__}.",
            "NOT_EXPECTED_TYPE",
        )
    return _from_rows(list(data), wanted, verify)


def parse_schema(schema: Schema) -> DataType | list[str] | None:
    """A type, the column names, or None. Text may be ``a INT, b STRING`` or one type."""
    if schema is None or isinstance(schema, DataType):
        return schema
    if isinstance(schema, str):
        try:
            return parse_ddl(schema)
        except ParseException:
            return parse_type(schema)
    if isinstance(schema, (list, tuple)) and all(isinstance(n, str) for n in schema):
        return list(schema)
    raise PySparkTypeError(
        f"Argument `schema` should be DataType, str, list of str or None, got {type(schema).__name__}.",
        "NOT_EXPECTED_TYPE",
    )


def _from_rows(
    rows: list[Any], wanted: DataType | list[str] | None, verify: bool
) -> tuple[pa.Table, StructType]:
    if isinstance(wanted, DataType) and not isinstance(wanted, StructType):
        rows = [(row,) for row in rows]
        wanted = StructType([StructField("value", wanted)])
    if isinstance(wanted, StructType):
        return table_of(rows, wanted, verify), wanted
    schema = infer_schema(rows, wanted)
    if wanted:
        names = [*wanted, *schema.names[len(wanted) :]]
        if len(wanted) > len(schema.names):
            raise PySparkValueError(
                f"{len(wanted)} column names were given for rows of {len(schema.names)} values: {', '.join(wanted)}",
                "AXIS_LENGTH_MISMATCH",
            )
        table = table_of(rows, schema, verify)
        schema = StructType(StructField(n, f.dataType) for n, f in zip(names, schema.fields, strict=True))
        return table.rename_columns(names), schema
    return table_of(rows, schema, verify), schema


def _from_numpy(data: Any) -> pa.Table:
    if data.ndim == 1:
        return pa.table({"value": pa.array(data)})
    if data.ndim == 2:
        return pa.table({f"_{i + 1}": pa.array(data[:, i].copy()) for i in range(data.shape[1])})
    raise PySparkValueError(
        f"NumPy array input should be of 1 or 2 dimensions, got {data.ndim}.", "INVALID_NDARRAY_DIMENSION"
    )


def _from_arrow(
    table: pa.Table, wanted: DataType | list[str] | None, time_zone: str, naive_is_local: bool
) -> tuple[pa.Table, StructType]:
    schema = wanted if isinstance(wanted, StructType) else _arrow_schema(table, wanted, naive_is_local)
    if len(schema.fields) != table.num_columns:
        raise PySparkValueError(
            f"Length mismatch: {table.num_columns} columns were given for a schema of {len(schema.fields)} "
            f"({', '.join(schema.names)}).",
            "AXIS_LENGTH_MISMATCH",
        )
    columns = [_fitted(table.column(i), f, time_zone) for i, f in enumerate(schema.fields)]
    return pa.Table.from_arrays(columns, schema=to_arrow_schema(schema)), schema


def _arrow_schema(table: pa.Table, names: DataType | list[str] | None, naive_is_local: bool) -> StructType:
    if isinstance(names, DataType):
        return StructType([StructField("value", names)])
    fields = []
    for i, field in enumerate(table.schema):
        kind = from_arrow(field.type)
        if naive_is_local and pa.types.is_timestamp(field.type):
            kind = TimestampType()
        name = names[i] if names is not None and i < len(names) else str(field.name)
        fields.append(StructField(name, kind, field.nullable))
    return StructType(fields)


def _fitted(column: pa.ChunkedArray, field: StructField, time_zone: str) -> pa.ChunkedArray:
    target = to_arrow(field.dataType)
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if isinstance(field.dataType, TimestampType) and pa.types.is_timestamp(column.type):
        micros = column.cast(pa.timestamp("us", column.type.tz), safe=False)
        if column.type.tz is None:
            import pyarrow.compute as pc  # slow to import, and few programs get here

            # A time without a zone is wall clock time of the session; of an hour that it repeats
            # the second counts, as in PySpark.
            micros = pc.assume_timezone(micros, time_zone, ambiguous="latest", nonexistent="latest")
        return micros.cast(pa.timestamp("us", "UTC")).cast(target)
    if pa.types.is_timestamp(target) and pa.types.is_timestamp(column.type):
        return column.cast(pa.timestamp("us", column.type.tz), safe=False).cast(target)
    try:
        return column.cast(target)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as problem:
        raise PySparkTypeError(
            f"field {field.name}: {column.type} does not fit {field.dataType.simpleString()}: {problem}",
            "FIELD_DATA_TYPE_UNACCEPTABLE_WITH_NAME",
        ) from problem
