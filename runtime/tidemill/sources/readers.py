"""What is in files: one reader per format, for streams and batches alike.

The text formats are read twice only where they must be: all files of a call at once by DuckDB, and a file in which
anything did not fit again, line by line, so that each bad record is known by its file, line and reason.
"""

from __future__ import annotations

import logging
import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tidemill.errors import SourceError, SparkRuntimeException
from tidemill.kernel import decode, fields, tokens
from tidemill.kernel.avro import fitted, library, parsed, table
from tidemill.kernel.records import TextRules
from tidemill.sources.base import BAD_SCHEMA
from tidemill.sources.listing import File
from tidemill.sources.options import Options
from tidemill.types import StringType, StructType, to_arrow_schema

log = logging.getLogger(__name__)

MODES = ("PERMISSIVE", "DROPMALFORMED", "FAILFAST", "DEADLETTER")
CORRUPT = "_corrupt_record"
MAX_OBJECT = 1 << 28
"""Bytes of the longest JSON record that the fast path takes (DuckDB's default, 16 MB, is small)."""

_DUCKDB_PACKED = (".gz", ".zst")
_ARROW_PACKED = {".bz2": "bz2", ".gz": "gzip", ".zst": "zstd", ".lz4": "lz4", ".snappy": None}


@dataclass(frozen=True)
class Content:
    """The rows of some files in order, and the bad records among them (`BAD_SCHEMA`)."""

    rows: pa.Table
    bad: pa.Table


class Reader(ABC):
    """Reads files of one format into ``schema`` (without partition columns). Safe to use from several threads."""

    def __init__(self, options: Options, schema: StructType) -> None:
        self.schema = schema
        self.arrow = to_arrow_schema(schema)
        self.ignore_missing = options.flag("ignoreMissingFiles")
        self.ignore_corrupt = options.flag("ignoreCorruptFiles")

    def read(self, files: Sequence[File]) -> Content:
        """All rows of the files, in their order; `SourceError` if one is gone or is not as it was listed."""
        there = [f for f in files if self._is_there(f)]
        return self._contents(there) if there else Content(self.arrow.empty_table(), BAD_SCHEMA.empty_table())

    def _is_there(self, file: File) -> bool:
        try:
            size = os.stat(file.path).st_size
        except FileNotFoundError:
            if self.ignore_missing:
                log.warning("file %s is gone and is left out (ignoreMissingFiles)", file.path)
                return False
            raise SourceError(
                f"file {file.path} is gone since it was taken; put it back, or set the option "
                "'ignoreMissingFiles' to 'true' to go on without its rows"
            ) from None
        if size < file.size:
            raise SourceError(
                f"file {file.path} had {file.size} bytes when it was taken and has {size} now; files that are read "
                "must not change: write a new one under another name"
            )
        return True

    @abstractmethod
    def _contents(self, files: Sequence[File]) -> Content: ...

    def _each(self, files: Sequence[File], read: Callable[[File], Content]) -> Content:
        parts = []
        for file in files:
            try:
                parts.append(read(file))
            except (pa.ArrowException, duckdb.Error, OSError, EOFError, ValueError) as error:
                if not self.ignore_corrupt:
                    raise SourceError(
                        f"file {file.path} cannot be read: {error}; mend it, or set the option 'ignoreCorruptFiles' "
                        "to 'true' to leave such files out"
                    ) from error
                log.warning(
                    "file %s cannot be read and is left out (ignoreCorruptFiles): %s", file.path, error
                )
        return together(parts, self.arrow)


def together(parts: Sequence[Content], arrow: pa.Schema) -> Content:
    """Contents one after the other."""
    return Content(
        pa.concat_tables([arrow.empty_table(), *(p.rows for p in parts)]),
        pa.concat_tables([BAD_SCHEMA.empty_table(), *(p.bad for p in parts)]),
    )


def content(file: File) -> bytes:
    """The bytes of a file as it was when it was taken, unpacked; what was added since is left out."""
    codec = _ARROW_PACKED.get(os.path.splitext(file.path)[1])
    if codec is None:
        with open(file.path, "rb") as stream:
            return stream.read(file.size)
    with pa.input_stream(file.path, compression=codec) as packed:
        whole: bytes = packed.read()
        return whole


def lines(raw: bytes, separator: str | None) -> pa.Array:
    """The lines of a text, without their ends; by default a line ends with LF or CRLF."""
    end = (separator or "\n").encode()
    if raw.startswith(b"\xef\xbb\xbf"):
        raw = raw[3:]
    if raw.endswith(end):
        raw = raw[: -len(end)]
    elif not raw:
        return pa.array([], pa.binary())
    whole = pa.array([raw], pa.large_binary())
    cut = (
        pc.split_pattern(whole, end).flatten().cast(pa.binary() if len(raw) < 1 << 31 else pa.large_binary())
    )
    if separator is None and b"\r" in raw:
        cut = pc.replace_substring_regex(cut, rb"\r$", b"")
    return cut


class TextReader(Reader):
    """Each line a row (``wholetext``: each file)."""

    def __init__(self, options: Options, schema: StructType) -> None:
        super().__init__(options, schema)
        if len(schema) != 1 or not isinstance(schema.fields[0].dataType, StringType):
            raise SourceError(f"format 'text' gives one STRING column, not {schema.simpleString()}")
        self._whole = options.flag("wholetext")
        self._end = options.text("lineSep")
        self._encoding = options.text("encoding")

    def _contents(self, files: Sequence[File]) -> Content:
        return self._each(files, self._file)

    def _file(self, file: File) -> Content:
        raw = recoded(content(file), self._encoding)
        column = pa.array([raw], pa.binary()) if self._whole else lines(raw, self._end)
        text, marks = decode.as_text(column)
        if marks is not None:  # as Spark: what is not UTF-8 becomes U+FFFD
            text = pa.array([r.decode(errors="replace") for r in column.to_pylist()], pa.string())
        return Content(pa.table([text.cast(pa.string())], schema=self.arrow), BAD_SCHEMA.empty_table())


def recoded(raw: bytes, encoding: str | None) -> bytes:
    """The same text in UTF-8."""
    if encoding is None or encoding.lower().replace("-", "") == "utf8":
        return raw
    try:
        return raw.decode(encoding).encode()
    except LookupError as error:
        raise SourceError(
            f"option 'encoding': {encoding!r} is no character set, such as UTF-8 or UTF-16"
        ) from error


class RecordReader(Reader):
    """Text of records that may be bad: JSON and CSV."""

    format: str

    def __init__(self, options: Options, schema: StructType) -> None:
        super().__init__(options, schema)
        self.rules: TextRules = decode.text_rules(options.given)
        self.mode = options.choice("mode", MODES, "PERMISSIVE")
        self.corrupt = options.text("columnNameOfCorruptRecord", CORRUPT)
        self.values = StructType(f for f in schema.fields if f.name != self.corrupt)
        self._end = options.text("lineSep")
        self.encoding = options.text("encoding") or options.text("charset")
        self.multi_line = options.flag("multiLine")

    def _contents(self, files: Sequence[File]) -> Content:
        done = self._at_once(files)
        return done if done is not None else self._each(files, self._file)

    def _file(self, file: File) -> Content:
        return self._at_once([file]) or self.slow(file)

    def _at_once(self, files: Sequence[File]) -> Content | None:
        """All files by one query; None if anything in them does not fit."""
        packed = any(
            os.path.splitext(f.path)[1] in _ARROW_PACKED and not f.path.endswith(_DUCKDB_PACKED)
            for f in files
        )
        if packed or self._end or self.encoding or self.multi_line or not len(self.values):
            return None
        if any(os.stat(f.path).st_size != f.size for f in files):
            return None
        try:
            found = self.fast([f.path for f in files])
        except duckdb.Error:
            return None
        return None if found is None else Content(self.complete(found, None), BAD_SCHEMA.empty_table())

    @abstractmethod
    def fast(self, paths: list[str]) -> pa.Table | None:
        """The rows of ``values`` of all files; None or `duckdb.Error` if not every record surely fits."""

    @abstractmethod
    def records(self, file: File) -> tuple[pa.Array, np.ndarray]:
        """The records of a file as bytes, and the line each begins at (from 1)."""

    @abstractmethod
    def decoder(self) -> decode.Decoder: ...

    def slow(self, file: File) -> Content:
        records, numbers = self.records(file)
        done = self.decoder().decode(records)
        if not len(done.bad):
            return Content(self.complete(done.table, None), BAD_SCHEMA.empty_table())
        return self.sorted_out(file, records, numbers, done)

    def sorted_out(self, file: File, records: pa.Array, numbers: np.ndarray, done: decode.Decoded) -> Content:
        """Rows and bad records, by the mode."""
        if self.mode == "FAILFAST":
            place = int(done.bad[0])
            raise SparkRuntimeException(
                f"file {file.path}, line {numbers[place]}: {done.reasons[0]}; mend the record, or use another 'mode': "
                f"{', '.join(m for m in MODES if m != 'FAILFAST')}",
                "MALFORMED_RECORD_IN_PARSING.WITHOUT_SUGGESTION",
            )
        raw = records.take(pa.array(done.bad)).cast(pa.binary())
        if self.mode == "PERMISSIVE":
            texts = [None] * len(records)
            for place, text in zip(done.bad.tolist(), raw.to_pylist(), strict=True):
                texts[place] = text.decode(errors="replace")
            return Content(self.complete(done.table, pa.array(texts, pa.string())), BAD_SCHEMA.empty_table())
        good = np.ones(len(records), bool)
        good[done.bad] = False
        rows = self.complete(done.table.filter(pa.array(good)), None)
        if self.mode == "DROPMALFORMED":
            return Content(rows, BAD_SCHEMA.empty_table())
        places = [str(n) for n in numbers[done.bad].tolist()]
        columns = [done.reasons, [self.format] * len(places), [file.path] * len(places), places, raw]
        return Content(rows, pa.table(columns, schema=BAD_SCHEMA))

    def complete(self, values: pa.Table, corrupt: pa.Array | None) -> pa.Table:
        """The rows with the corrupt-record column at its place, if the schema has one."""
        columns = []
        for f in self.schema.fields:
            if f.name == self.corrupt:
                columns.append(pa.nulls(values.num_rows, pa.string()) if corrupt is None else corrupt)
            else:
                columns.append(values.column(f.name))
        return pa.table(columns, schema=self.arrow)


def paths_sql(paths: Sequence[str]) -> str:
    return "[" + ", ".join(quoted(_unglobbed(p)) for p in paths) + "]"


def _unglobbed(path: str) -> str:
    """A path that DuckDB reads as it stands, whatever glob characters it holds."""
    return "".join(f"[{c}]" if c in "*?[" else c for c in path)


def quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


class JsonReader(RecordReader):
    """One object a line, or with ``multiLine`` a file that holds one object or an array of them."""

    format = "json"

    def fast(self, paths: list[str]) -> pa.Table | None:
        if not tokens.is_exact(self.values):
            return None
        columns = ", ".join(
            f"{quoted(f.name)}: '{tokens.token_type(f.dataType)}'" for f in self.values.fields
        )
        found = tokens.cursor().sql(
            f"SELECT * FROM read_json({paths_sql(paths)}, columns = {{{columns}}}, auto_detect = false, "
            f"format = 'newline_delimited', records = 'true', maximum_object_size = {MAX_OBJECT}, "
            "hive_partitioning = false)"
        )
        return converted(found.to_arrow_table(), self.values, self.rules, json=True)

    def records(self, file: File) -> tuple[pa.Array, np.ndarray]:
        raw = recoded(content(file), self.encoding)
        if self.multi_line:
            found = decode.json_elements(raw)
            return found, np.ones(len(found), np.int64)
        cut = lines(raw, self._end)
        kept = pc.match_substring_regex(cut, r"[^ \t\r\n]")
        return cut.filter(kept), np.flatnonzero(np.asarray(kept)) + 1

    def decoder(self) -> decode.Decoder:
        return decode.JsonDecoder(self.values, self.rules)


def converted(rows: pa.Table, schema: StructType, rules: TextRules, json: bool) -> pa.Table | None:
    """Token columns as typed rows; None if a value has to be looked at again."""

    def one(chunk: pa.RecordBatch) -> tuple[pa.Table, np.ndarray | None]:
        return decode.convert([c.cast(pa.string()) for c in chunk.columns], schema, rules, json)

    chunks = rows.to_batches()
    parts = list(_threads.map(one, chunks)) if len(chunks) > 1 else [one(c) for c in chunks]
    if any(marks is not None and marks.any() for _, marks in parts):
        return None
    return pa.concat_tables([to_arrow_schema(schema).empty_table(), *(t for t, _ in parts)])


# Arrow's casts let go of the interpreter; a thread starts when it is first needed.
_threads = ThreadPoolExecutor(os.cpu_count(), thread_name_prefix="convert")


class CsvReader(RecordReader):
    """Separated values, one record a line unless ``multiLine``."""

    format = "csv"

    def __init__(self, options: Options, schema: StructType) -> None:
        super().__init__(options, schema)
        self.layout = fields.csv_layout(options.given)

    def fast(self, paths: list[str]) -> pa.Table | None:
        layout = self.layout
        if layout.trim_left or layout.trim_right or layout.null or layout.empty or layout.comment:
            return None
        columns = ", ".join(f"'c{i}': 'VARCHAR'" for i in range(len(self.values)))
        found = tokens.cursor().sql(
            f"SELECT * FROM read_csv({paths_sql(paths)}, columns = {{{columns}}}, auto_detect = false, "
            f"header = {layout.header}, delim = {quoted(layout.sep)}, quote = {quoted(layout.quote)}, "
            f"escape = {quoted(layout.escape)}, nullstr = '', strict_mode = true, null_padding = false, "
            "hive_partitioning = false)"
        )
        rows = found.to_arrow_table()
        return None if _holds_line_ends(rows) else converted(rows, self.values, self.rules, json=False)

    def records(self, file: File) -> tuple[pa.Array, np.ndarray]:
        raw = recoded(content(file), self.encoding)
        if not self.multi_line:
            cut = lines(raw, self._end)
            numbers = np.arange(1, len(cut) + 1)
        else:
            found = list(fields.records(raw.decode(errors="surrogateescape"), self.layout))
            cut = pa.array([r.encode(errors="surrogateescape") for _, r in found], pa.binary())
            numbers = np.array([n for n, _ in found], np.int64)
        kept = pc.match_substring_regex(cut, r"[^ \t\r\n]")
        if self.layout.comment:
            kept = pc.and_not(kept, pc.starts_with(cut, self.layout.comment))
        where = np.flatnonzero(np.asarray(kept))[int(self.layout.header) :]
        return cut.take(pa.array(where)), numbers[where]

    def decoder(self) -> decode.Decoder:
        return decode.CsvDecoder(self.values, self.rules, self.layout)


def _holds_line_ends(rows: pa.Table) -> bool:
    """A line end inside quotes: Spark ends the record there unless ``multiLine`` is set."""
    return any(pc.any(pc.match_substring(c, end)).as_py() for c in rows.columns for end in ("\n", "\r"))


class ParquetReader(Reader):
    """Columns by name; those that a file lacks are null."""

    def _contents(self, files: Sequence[File]) -> Content:
        return self._each(files, self._file)

    def _file(self, file: File) -> Content:
        return Content(self.fit(self.load(file.path), file.path), BAD_SCHEMA.empty_table())

    def load(self, path: str) -> pa.Table:
        import pyarrow.parquet as parquet

        with parquet.ParquetFile(path) as found:
            there = set(found.schema_arrow.names)
            return found.read([n for n in self.schema.names if n in there])

    def fit(self, rows: pa.Table, path: str) -> pa.Table:
        columns = []
        for f in self.arrow:
            if f.name not in rows.column_names:
                columns.append(pa.nulls(rows.num_rows, f.type))
                continue
            try:
                columns.append(_fit(rows.column(f.name), f.type))
            except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
                raise SourceError(
                    f"file {path}: column {f.name!r} is {rows.column(f.name).type} and cannot be read as "
                    f"{self.schema[f.name].dataType.simpleString()}: {error}"
                ) from error
        return pa.table(columns, schema=self.arrow)


def _fit(column: pa.ChunkedArray, to: pa.DataType) -> pa.ChunkedArray:
    if pa.types.is_timestamp(column.type) and pa.types.is_timestamp(to) and column.type.tz is not None:
        column = column.cast(pa.timestamp(column.type.unit, "UTC")).cast(pa.timestamp(column.type.unit))
    # Nanoseconds lose what microseconds cannot hold, as in Spark; anything else must fit.
    return column.cast(to, safe=not pa.types.is_timestamp(to))


class OrcReader(ParquetReader):
    """As Parquet."""

    def load(self, path: str) -> pa.Table:
        from pyarrow import orc

        found = orc.ORCFile(path)
        there = set(found.schema.names)
        return found.read([n for n in self.schema.names if n in there])


class AvroReader(Reader):
    """Avro object container files; ``avroSchema`` resolves what older or newer writers wrote."""

    def __init__(self, options: Options, schema: StructType) -> None:
        super().__init__(options, schema)
        text = options.text("avroSchema")
        self._as = parsed(text, schema) if text else None

    def _contents(self, files: Sequence[File]) -> Content:
        library()
        return self._each(files, self._file)

    def _file(self, file: File) -> Content:
        rows: list[dict[str, Any]] = []
        with open(file.path, "rb") as stream:
            for record in library().reader(stream, reader_schema=self._as):
                row, reason = fitted(record, self.schema)
                if reason:
                    raise ValueError(f"record {len(rows) + 1}: {reason}")
                rows.append(row)
        return Content(table(rows, self.schema), BAD_SCHEMA.empty_table())


READERS: dict[str, type[Reader]] = {
    "text": TextReader,
    "csv": CsvReader,
    "json": JsonReader,
    "parquet": ParquetReader,
    "orc": OrcReader,
    "avro": AvroReader,
}
