"""The exceptions under the name by which older programs import them, ``pyspark.sql.utils``."""

from tidemill.errors import (
    AnalysisException,
    IllegalArgumentException,
    ParseException,
    PySparkException,
    PySparkTypeError,
    PySparkValueError,
    SparkRuntimeException,
    StreamingQueryException,
)

__all__ = [
    "AnalysisException",
    "IllegalArgumentException",
    "ParseException",
    "PySparkException",
    "PySparkTypeError",
    "PySparkValueError",
    "SparkRuntimeException",
    "StreamingQueryException",
]
