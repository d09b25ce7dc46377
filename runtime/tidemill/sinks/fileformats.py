"""The file formats that can be written: how a table becomes the bytes of one file."""

from __future__ import annotations

import bz2
import gzip
import zlib
from abc import ABC, abstractmethod
from typing import IO, Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from tidemill.errors import AnalysisException, PySparkValueError, did_you_mean
from tidemill.kernel import encode
from tidemill.sinks.options import Options
from tidemill.types import (
    ArrayType,
    DataType,
    MapType,
    NullType,
    StringType,
    StructType,
    TimestampType,
    to_arrow,
)


class FileFormat(ABC):
    """Writes the rows of one file. ``suffix`` ends the file's name."""

    suffix: str

    @abstractmethod
    def write(self, rows: pa.Table, file: IO[bytes]) -> None:
        """Write all of ``rows``, whose columns are those that the format was made for."""


def file_format(name: str, options: Options, schema: StructType, time_zone: str) -> FileFormat:
    """The writer of format ``name`` for rows of ``schema``; raises `AnalysisException` for what it cannot hold."""
    return _WRITERS[name](options, schema, time_zone)


# --- Parquet --------------------------------------------------------------------------------------------------------

_PARQUET_CODECS = {
    "snappy": ("snappy", ".snappy"), "gzip": ("gzip", ".gz"), "zstd": ("zstd", ".zstd"), "lz4": ("lz4", ".lz4"),
    "lz4_raw": ("lz4", ".lz4raw"), "brotli": ("brotli", ".br"), "none": ("none", ""), "uncompressed": ("none", ""),
}  # fmt: skip


class ParquetFormat(FileFormat):
    """Instants are marked as UTC, so that readers know them for instants."""

    def __init__(self, options: Options, schema: StructType, time_zone: str) -> None:
        self.codec, mark = _codec(options, "snappy", _PARQUET_CODECS)
        self.suffix = f"{mark}.parquet"
        self.schema = pa.schema([pa.field(f.name, _with_zone(f.dataType), f.nullable) for f in schema.fields])
        self.group_bytes = options.count("parquet.block.size", 128 * 2**20)

    def write(self, rows: pa.Table, file: IO[bytes]) -> None:
        table = rows if rows.schema.equals(self.schema) else rows.cast(self.schema)
        each = max(1, table.nbytes // max(1, table.num_rows))
        pq.write_table(
            table,
            file,
            compression=self.codec,
            row_group_size=max(1000, self.group_bytes // each),
            store_schema=False,
        )


def _with_zone(kind: DataType) -> pa.DataType:
    match kind:
        case TimestampType():
            return pa.timestamp("us", "UTC")
        case ArrayType(element):
            return pa.list_(_with_zone(element))
        case MapType(key, value):
            return pa.map_(_with_zone(key), _with_zone(value))
        case StructType(fields):
            return pa.struct([pa.field(f.name, _with_zone(f.dataType)) for f in fields])
    return to_arrow(kind)


# --- Text of any kind -----------------------------------------------------------------------------------------------

_TEXT_CODECS = {
    "none": ("none", ""), "uncompressed": ("none", ""), "gzip": ("gzip", ".gz"), "bzip2": ("bzip2", ".bz2"),
    "deflate": ("deflate", ".deflate"), "zstd": ("zstd", ".zst"),
}  # fmt: skip


class LinesFormat(FileFormat):
    """Formats of lines: the lines of a table, and how the whole is compressed."""

    def __init__(self, options: Options, extension: str) -> None:
        self.codec, mark = _codec(options, "none", _TEXT_CODECS)
        self.suffix = f"{extension}{mark}"
        self.line_end = options.text("lineSep", "\n")
        _only_utf8(options)

    def write(self, rows: pa.Table, file: IO[bytes]) -> None:
        pieces = [*self.head(), *encode.data_of(self.lines(rows))]
        if self.codec == "none":
            for piece in pieces:
                file.write(piece)
        else:
            file.write(_compressed(self.codec, b"".join(pieces)))

    def head(self) -> list[bytes]:
        """What stands before the first line."""
        return []

    @abstractmethod
    def lines(self, rows: pa.Table) -> pa.Array:
        """A string for each row, with its end."""


class JsonFormat(LinesFormat):
    def __init__(self, options: Options, schema: StructType, time_zone: str) -> None:
        super().__init__(options, ".json")
        options.refuse("timestampFormat", "timestampNTZFormat", "dateFormat", "locale")
        self.schema = schema
        self.form = encode.TextForm(time_zone, options.flag("ignoreNullFields", True))

    def lines(self, rows: pa.Table) -> pa.Array:
        return encode.json_lines(rows, self.schema, self.form, self.line_end)


class CsvFormat(LinesFormat):
    def __init__(self, options: Options, schema: StructType, time_zone: str) -> None:
        super().__init__(options, ".csv")
        options.refuse("timestampFormat", "timestampNTZFormat", "dateFormat", "locale")
        _no_nesting("CSV", schema)
        self.schema = schema
        self.form = encode.TextForm(time_zone)
        self.csv = csv_form(options, self.line_end)
        self.header = encode.csv_header(schema, self.csv).encode() if options.flag("header", False) else b""

    def head(self) -> list[bytes]:
        return [self.header]

    def lines(self, rows: pa.Table) -> pa.Array:
        return encode.csv_lines(rows, self.schema, self.csv, self.form)


def csv_form(options: Options, line_end: str = "\n") -> encode.CsvForm:
    """Spark's options of the CSV writer."""
    escape_escape = options.get("charToEscapeQuoteEscaping")
    return encode.CsvForm(
        sep=options.text("sep", options.text("delimiter", ",")).replace("\\t", "\t"),
        quote=options.character("quote", '"'),
        escape=options.character("escape", "\\"),
        escape_escape=escape_escape,
        null_value=options.text("nullValue", ""),
        empty_value=options.text("emptyValue", '""'),
        quote_all=options.flag("quoteAll", False),
        escape_quotes=options.flag("escapeQuotes", True),
        trim_left=options.flag("ignoreLeadingWhiteSpace", True),
        trim_right=options.flag("ignoreTrailingWhiteSpace", True),
        line_end=line_end,
    )


class TextFormat(LinesFormat):
    """One string column; a null is an empty line."""

    def __init__(self, options: Options, schema: StructType, time_zone: str) -> None:
        super().__init__(options, ".txt")
        for field in schema.fields:
            if not isinstance(field.dataType, StringType):
                raise _unsupported("Text", field.name, field.dataType)
        if len(schema) != 1:
            raise AnalysisException(
                f"Text data source supports only a single column, and you have {len(schema)} columns; "
                "select one, such as to_json(struct(*)) or concat_ws(',', *)"
            )

    def lines(self, rows: pa.Table) -> pa.Array:
        filled = pc.fill_null(rows.column(0).combine_chunks(), "")
        return pc.binary_join_element_wise(filled, self.line_end, "")


# --- Avro -----------------------------------------------------------------------------------------------------------

_AVRO_CODECS = {
    "snappy": ("snappy", ""), "deflate": ("deflate", ""), "bzip2": ("bzip2", ""), "xz": ("xz", ""),
    "zstandard": ("zstandard", ""), "uncompressed": ("null", ""), "none": ("null", ""),
}  # fmt: skip


class AvroFormat(FileFormat):
    suffix = ".avro"

    def __init__(self, options: Options, schema: StructType, time_zone: str) -> None:
        from tidemill.sinks.avro import AvroWriter

        options.refuse("positionalFieldMatching")
        # Spark's default, snappy, needs a library of its own; deflate comes with Python and every reader has it.
        self.codec, _ = _codec(options, "deflate", _AVRO_CODECS)
        self.writer = AvroWriter(
            schema,
            given=options.get("avroSchema"),
            name=options.text("recordName", "topLevelRecord"),
            namespace=options.text("recordNamespace", ""),
        )
        self.writer.check_codec(self.codec)

    def write(self, rows: pa.Table, file: IO[bytes]) -> None:
        self.writer.container(rows, file, self.codec)


# --- What they share ------------------------------------------------------------------------------------------------

_WRITERS: dict[str, Any] = {
    "parquet": ParquetFormat,
    "json": JsonFormat,
    "csv": CsvFormat,
    "text": TextFormat,
    "avro": AvroFormat,
}


def _codec(options: Options, default: str, known: dict[str, tuple[str, str]]) -> tuple[str, str]:
    name = options.text("compression", default).lower()
    if name not in known:
        raise PySparkValueError(
            f"The codec {name} is not available. Available codecs are {', '.join(known)}{did_you_mean(name, known)}",
            "CODEC_NOT_AVAILABLE.WITH_AVAILABLE_CODECS_SUGGESTION",
        )
    return known[name]


def _compressed(codec: str, data: bytes) -> bytes:
    match codec:
        case "gzip":
            return gzip.compress(data, compresslevel=6, mtime=0)
        case "bzip2":
            return bz2.compress(data)
        case "deflate":
            return zlib.compress(data)
    return bytes(pa.compress(data, codec=codec, asbytes=True))


def _only_utf8(options: Options) -> None:
    for name in ("encoding", "charset"):
        if options.text(name, "UTF-8").lower().replace("_", "-") not in ("utf-8", "utf8"):
            raise options.wrong(name, "UTF-8, the only character set that can be written")


def _no_nesting(format: str, schema: StructType) -> None:
    for field in schema.fields:
        if isinstance(field.dataType, ArrayType | MapType | StructType | NullType):
            raise _unsupported(format, field.name, field.dataType)


def _unsupported(format: str, name: str, kind: DataType) -> AnalysisException:
    from tidemill.types import ddl

    return AnalysisException(
        f'The {format} datasource doesn\'t support the column `{name}` of the type "{ddl(kind)}".',
        "UNSUPPORTED_DATA_TYPE_FOR_DATASOURCE",
    )
