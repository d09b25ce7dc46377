"""What queries read: one file per kind of source, found here by its format name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from tidemill.errors import AnalysisException, SourceError, did_you_mean
from tidemill.types import StructType

if TYPE_CHECKING:
    import pyarrow as pa

    from tidemill.sources.base import Source

FILE_FORMATS = ("text", "csv", "json", "parquet", "avro", "orc")
STREAM_FORMATS = ("kafka", "socket", "rate", "rate-micro-batch", "memory")
FORMATS = (*FILE_FORMATS, *STREAM_FORMATS)


def create(
    format: str, options: Mapping[str, str], schema: StructType | None = None, handle: Any = None
) -> Source:
    """The source of a streaming query.

    ``schema`` is what `reader_schema` gave. ``handle`` is the live object of a source that exists only in this process
    (a `MemoryLog`, or a `Source` made by hand). Raises `AnalysisException` for an unknown format and `SourceError` for
    options that cannot be used.
    """
    from tidemill.sources.base import Source

    if isinstance(handle, Source):
        return handle
    name = _known(format)
    if name in FILE_FORMATS:
        from tidemill.sources.files import FileSource

        return FileSource(name, options, schema or reader_schema(name, options, None, streaming=True))
    if name == "kafka":
        from tidemill.sources.kafka import KafkaSource

        return KafkaSource(options)
    return _small(name, options, handle)


def _small(name: str, options: Mapping[str, str], handle: Any) -> Source:
    if name == "memory":
        from tidemill.sources.memory import MemoryLog, MemorySource

        if not isinstance(handle, MemoryLog):
            raise SourceError(
                "format 'memory' is read through a MemoryStream of this process; make one with "
                "tidemill.testing.MemoryStream(spark, 'a INT') and use its toDF()"
            )
        return MemorySource(handle)
    if name == "socket":
        from tidemill.sources.socket import SocketSource

        return SocketSource(options)
    from tidemill.sources.rate import RatePerBatchSource, RateSource

    return RateSource(options) if name == "rate" else RatePerBatchSource(options)


def reader_schema(
    format: str,
    options: Mapping[str, str],
    user_schema: StructType | None = None,
    streaming: bool = False,
) -> StructType:
    """The schema of what a reader gives: the format's own, the user's, or (batch only) inferred from the data.

    Partition columns of directories (``day=2024-01-01``) come last, as in Spark.
    """
    name = _known(format)
    if name in FILE_FORMATS:
        from tidemill.sources.files import file_schema

        return file_schema(name, options, user_schema, streaming)
    if user_schema is not None and name != "memory":
        raise AnalysisException(
            f"format {name!r} has a schema of its own and takes no other; leave out .schema(...) and decode its "
            "columns instead",
            "USER_SPECIFIED_AND_ACTUAL_SCHEMA_NOT_SUPPORTED",
        )
    return _own_schema(name, options, user_schema)


def _own_schema(name: str, options: Mapping[str, str], user_schema: StructType | None) -> StructType:
    if name == "kafka":
        from tidemill.sources.kafka_options import kafka_schema

        return kafka_schema(options)
    if name == "memory":
        if user_schema is None:
            raise SourceError("format 'memory' has the schema of its MemoryStream; read it through toDF()")
        return user_schema
    if name == "socket":
        from tidemill.sources.socket import socket_schema

        return socket_schema(options)
    from tidemill.sources.rate import RATE_SCHEMA, RateSource

    if name == "rate":
        RateSource(options)  # says now what is wrong with the options
    return RATE_SCHEMA


def batch(format: str, options: Mapping[str, str], schema: StructType | None = None) -> pa.Table:
    """Everything that a batch reader of the format gives, in ``schema`` (what `reader_schema` gave)."""
    name = _known(format)
    if name in FILE_FORMATS:
        from tidemill.sources.files import read_files

        return read_files(name, options, schema or reader_schema(name, options))
    if name == "kafka":
        from tidemill.sources.kafka import read_kafka

        return read_kafka(options)
    raise AnalysisException(
        f"format {name!r} can only be read as a stream; use spark.readStream",
        "UNSUPPORTED_DATA_SOURCE_FOR_BATCH_READ",
    )


def _known(format: str) -> str:
    name = format.lower()
    if name not in FORMATS:
        hint = did_you_mean(name, FORMATS) or f"; known are {', '.join(FORMATS)}"
        raise AnalysisException(f"Failed to find the data source: {format}{hint}", "DATA_SOURCE_NOT_FOUND")
    return name
