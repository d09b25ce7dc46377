"""Which sink a format's name means."""

from __future__ import annotations

import os
import shutil
import uuid
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

import pyarrow as pa

from tidemill.errors import AnalysisException, PySparkValueError, did_you_mean
from tidemill.secrets import plain
from tidemill.sinks.base import Generation, Sink, TaskId
from tidemill.sinks.fileformats import file_format
from tidemill.sinks.files import FileSink
from tidemill.sinks.foreach import ForeachBatchSink, ForeachSink
from tidemill.sinks.memory import ConsoleSink, MemorySink, NoopSink, memory_table
from tidemill.sinks.options import Options, Wiring, check_columns, known_format
from tidemill.sinks.partitions import position
from tidemill.types import ArrayType, MapType, StructType

if TYPE_CHECKING:
    from tidemill.sinks.encoding import Encoding

SAVE_MODES = ("append", "overwrite", "error", "errorifexists", "default", "ignore")


def streaming(
    format: str,
    options: Mapping[str, Any],
    schema: StructType,
    mode: str = "append",
    partition_by: tuple[str, ...] = (),
    target: Any = None,
    wiring: Wiring | None = None,
    encoding: Encoding | None = None,
) -> Sink:
    """The sink of a streaming query. Nothing is touched before `Sink.open`.

    Formats beside those of ``writeStream.format``: ``foreach`` and ``foreachBatch`` with the user's function or object
    as ``target``, ``table`` with its name as ``target`` (``format`` may be given as an option), ``dead-letter`` with
    the real format as ``target``, and ``memory`` with a `MemoryTable` as ``target`` or the option ``queryName``.
    Raises `AnalysisException` for what cannot be, with Spark's condition where it has one.
    """
    wiring = wiring or Wiring()
    name = format.lower()
    if name == "foreachbatch":
        return ForeachBatchSink(target, schema, wiring.make_frame or (lambda rows: rows))
    if name == "foreach":
        return ForeachSink(target, schema, wiring.make_rows or (lambda rows: rows.to_pylist()))
    if name == "dead-letter":
        from tidemill.sinks import dead_letter

        return dead_letter.create(str(target), options, wiring)
    if name == "table":
        format, options = _of_table(str(target), options, wiring)
    name = known_format(format)
    checked = Options(name, options)
    checked.check()
    sink = _named(name, checked, schema, mode, partition_by, target, wiring, options, encoding)
    if mode not in sink.modes:
        raise AnalysisException(
            f"Invalid streaming output mode: {mode}. This output mode is not supported in Data Source {name}.",
            "STREAMING_OUTPUT_MODE.UNSUPPORTED_DATASOURCE",
        )
    return sink


def _named(
    name: str,
    options: Options,
    schema: StructType,
    mode: str,
    partition_by: tuple[str, ...],
    target: Any,
    wiring: Wiring,
    given: Mapping[str, Any],
    encoding: Encoding | None = None,
) -> Sink:
    check_columns(name, schema, partition_by)
    match name:
        case "kafka":
            return _kafka(options, schema, encoding, wiring)
        case "console":
            return ConsoleSink(options, schema, wiring)
        case "memory":
            lower = {k.lower(): str(v) for k, v in given.items()}
            return MemorySink(memory_table(target, lower.get("queryname", ""), schema), mode)
        case "noop":
            return NoopSink()
    return files(name, options, schema, partition_by, wiring)


def _kafka(options: Options, schema: StructType, encoding: Encoding | None, wiring: Wiring) -> Sink:
    from tidemill.sinks.encoding import EncodedRecords, Records
    from tidemill.sinks.kafka import KafkaSink

    topic = options.get("topic")
    if encoding is None:
        return KafkaSink(options, Records(schema, topic, options.flag("includeHeaders", True)))
    if topic is None:
        raise AnalysisException(
            "encode makes a record of all columns, so the option 'topic' has to say where it goes"
        )
    return KafkaSink(options, EncodedRecords(schema, encoding, wiring.time_zone))


def files(
    name: str,
    options: Options,
    schema: StructType,
    by: tuple[str, ...],
    wiring: Wiring,
    keep_empty: bool = False,
) -> FileSink:
    """The sink of a file format."""
    numbers = [position(schema, column) for column in by]
    for i in numbers:
        if isinstance(schema.fields[i].dataType, ArrayType | MapType | StructType):
            raise AnalysisException(
                f"Cannot use {schema.fields[i].dataType.simpleString()} for partition column {schema.fields[i].name}; "
                "take a column of numbers, dates or text"
            )
    stored = StructType(f for i, f in enumerate(schema.fields) if i not in numbers)
    written = file_format(name, options, stored, wiring.time_zone)
    return FileSink(local_path(options.text("path", "")), written, schema, by, wiring.time_zone, keep_empty)


def local_path(path: str) -> str:
    """The directory that a path or ``file:`` URL names; raises `AnalysisException` for another file system."""
    parts = urlsplit(path)
    if parts.scheme == "file":
        return unquote(parts.path)
    if "://" in path:
        raise AnalysisException(
            f"option 'path': {path!r} is on {parts.scheme!r}, and only directories of this machine can be written; "
            "give a directory, or mount it"
        )
    return plain(path)


def _of_table(name: str, options: Mapping[str, Any], wiring: Wiring) -> tuple[str, dict[str, Any]]:
    """A table is a directory of files below the warehouse, as Spark lays it out: ``db.t`` is ``db.db/t``."""
    parts = [p.strip("`").lower() for p in name.split(".")]
    if parts[0] == "spark_catalog":
        parts = parts[1:]
    if not 1 <= len(parts) <= 2 or not all(parts):
        raise AnalysisException(f"{name!r} is not a table name; write it like events or web.events")
    if parts[0] == "default" and len(parts) == 2:
        parts = parts[1:]
    path = os.path.join(local_path(wiring.warehouse), *(f"{p}.db" for p in parts[:-1]), parts[-1])
    lower = {k.lower(): v for k, v in options.items()}
    format = str(lower.pop("format", "parquet"))
    return format, {**lower, "path": lower.get("path", path)}


# --- Batch ----------------------------------------------------------------------------------------------------------


def batch(
    rows: pa.Table,
    format: str,
    options: Mapping[str, Any],
    schema: StructType,
    mode: str = "errorifexists",
    partition_by: tuple[str, ...] = (),
    wiring: Wiring | None = None,
) -> None:
    """Store the rows of a batch DataFrame: all of them, or none if it fails."""
    wiring, mode = wiring or Wiring(), mode.lower()
    if mode not in SAVE_MODES:
        raise PySparkValueError(
            f"Unknown save mode: {mode}. Accepted save modes are 'overwrite', 'append', 'ignore', 'error', "
            f"'errorifexists', 'default'{did_you_mean(mode, SAVE_MODES)}.",
            "_LEGACY_ERROR_TEMP_1318",
        )
    if format.lower() == "table":
        raise AnalysisException("give the format that the table's files have, and its directory as path")
    name = known_format(format)
    checked = Options(name, options)
    checked.check()
    if name == "kafka":
        if mode in ("overwrite", "ignore"):
            raise AnalysisException(
                f"Save mode {mode.capitalize()} not allowed for Kafka. Allowed save modes are Append and "
                "ErrorIfExists (default)."
            )
        plain = Options(name, {**options, "exactlyOnce": "false"})
        _run(_named(name, plain, schema, "append", partition_by, None, wiring, options), rows)
    elif name in ("console", "noop"):
        plain = Options(name, {**options, "exactlyOnce": "false"})
        _run(_named(name, plain, schema, "append", partition_by, None, wiring, options), rows)
    elif name == "memory":
        raise AnalysisException(
            "memory is a sink of streaming queries; createOrReplaceTempView names a batch's rows"
        )
    else:
        check_columns(name, schema, partition_by)
        _write_files(files(name, checked, schema, partition_by, wiring, keep_empty=True), rows, mode)


def _write_files(sink: FileSink, rows: pa.Table, mode: str) -> None:
    there = os.path.exists(sink.path)
    if there and mode in ("error", "errorifexists", "default"):
        raise AnalysisException(
            f'Path file:{sink.path} already exists. Set mode as "overwrite" to overwrite the existing path.',
            "PATH_ALREADY_EXISTS",
        )
    if there and mode == "ignore":
        return
    old = [e for e in os.scandir(sink.path) if e.name != ".tidemill"] if there and mode == "overwrite" else []
    _run(sink, rows, old)


def _run(sink: Sink, rows: pa.Table, replaced: Sequence[os.DirEntry[str]] = ()) -> None:
    query = uuid.uuid4().hex
    sink.open(Generation(1, query), query, 1)
    try:
        prepared = [sink.prepare(TaskId(query, 0, 0), rows)]
        for entry in replaced:
            _remove(entry)
        sink.commit(0, prepared)
    finally:
        sink.close()


def _remove(entry: os.DirEntry[str]) -> None:
    if entry.is_dir(follow_symlinks=False):
        shutil.rmtree(entry.path)
    else:
        os.unlink(entry.path)
