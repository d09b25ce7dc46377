"""Rows as pandas DataFrames, with the types that PySpark gives them."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from tidemill.errors import PySparkRuntimeError
from tidemill.sql.values import python_values
from tidemill.types import ArrayType, DataType, MapType, StructType, TimestampType


def to_pandas(table: pa.Table, schema: StructType, time_zone: str) -> Any:
    """A pandas DataFrame; instants are wall clock times of ``time_zone``, nested values lists, dicts and Rows."""
    try:
        import pandas as pd
    except ImportError:
        raise PySparkRuntimeError(
            "toPandas() needs pandas; install it with: pip install 'tidemill[pandas]'",
            "PACKAGE_NOT_INSTALLED",
        ) from None
    columns = [_series(pd, table.column(i), f.dataType, time_zone) for i, f in enumerate(schema.fields)]
    frame = pd.concat(columns, axis=1) if columns else pd.DataFrame(index=range(table.num_rows))
    frame.columns = schema.names
    return frame


def _series(pd: Any, column: pa.ChunkedArray, kind: DataType, time_zone: str) -> Any:
    if isinstance(kind, (StructType, MapType)):
        return pd.Series(python_values(column, kind), dtype=object)
    if isinstance(kind, ArrayType):
        import numpy as np

        made = [
            None if v is None else np.array(v, dtype=None if v and None not in v else object)
            for v in python_values(column, kind)
        ]
        series = pd.Series([None] * len(made), dtype=object)
        for i, value in enumerate(made):
            series.iat[i] = value
        return series
    if isinstance(kind, TimestampType):
        column = pc.local_timestamp(
            column.cast(pa.timestamp("us", "UTC")).cast(pa.timestamp("us", time_zone))
        )
    return column.to_pandas()
