"""PySpark's ``pyspark.sql``: change the import, keep the program.

from tidemill.sql import SparkSession, functions as F
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tidemill.sql import functions, streaming, types
    from tidemill.sql.catalog import Catalog
    from tidemill.sql.column import Column
    from tidemill.sql.dataframe import DataFrame
    from tidemill.sql.functions.userdefined import UserDefinedFunction
    from tidemill.sql.group import GroupedData
    from tidemill.sql.missing import DataFrameNaFunctions
    from tidemill.sql.observation import Observation
    from tidemill.sql.readwriter import DataFrameReader, DataFrameWriter
    from tidemill.sql.row import Row
    from tidemill.sql.session import SparkSession
    from tidemill.sql.udf import UDFRegistration
    from tidemill.sql.window import Window, WindowSpec

_HOMES = {
    "Catalog": "catalog", "Column": "column", "DataFrame": "dataframe", "DataFrameNaFunctions": "missing",
    "DataFrameReader": "readwriter", "DataFrameWriter": "readwriter", "GroupedData": "group", "Row": "row",
    "SparkSession": "session", "UDFRegistration": "udf", "UserDefinedFunction": "functions.userdefined",
    "Observation": "observation", "Window": "window", "WindowSpec": "window", "functions": "", "streaming": "", "types": "",
}  # fmt: skip

__all__ = [
    "Catalog",
    "Column",
    "DataFrame",
    "DataFrameNaFunctions",
    "DataFrameReader",
    "DataFrameWriter",
    "GroupedData",
    "Observation",
    "Row",
    "SparkSession",
    "UDFRegistration",
    "UserDefinedFunction",
    "Window",
    "WindowSpec",
    "functions",
    "streaming",
    "types",
]


def __getattr__(name: str) -> Any:
    # Each name is imported when it is asked for: the modules need each other, and a program only some of them.
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    home = _HOMES[name]
    if not home:
        return importlib.import_module(f"{__name__}.{name}")
    return getattr(importlib.import_module(f"{__name__}.{home}"), name)
