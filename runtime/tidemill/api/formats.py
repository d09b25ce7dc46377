"""The formats that a manifest can name, and their options: plain data, Spark's names and meanings.

What a source or sink does with an option is its own business; this table is what lets a misspelt one be refused
before anything starts. Option names are compared without regard to case, as Spark compares them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal

Kind = Literal["text", "boolean", "count", "choice", "duration", "offsets"]
"""``count``: a whole number from 0. ``offsets``: earliest, latest or a JSON map of topics."""


@dataclass(frozen=True)
class Option:
    """One option: what it means, and what its values look like."""

    meaning: str
    kind: Kind = "text"
    choices: tuple[str, ...] = ()


@dataclass(frozen=True)
class Format:
    """One format in one role."""

    meaning: str
    options: Mapping[str, Option]
    one_of: tuple[tuple[str, ...], ...] = ()
    """Groups of options: exactly one of each group has to be given."""
    pass_through: tuple[str, ...] = ()
    """Prefixes of options that are handed to a client library as they are."""
    columns: str | None = None
    """The format's own columns as DDL; None: the manifest's ``schema`` says them."""
    decodes: bool = False
    """Its ``value`` column can be decoded."""
    writes_files: bool = False
    modes: frozenset[str] = field(default_factory=lambda: frozenset({"append", "update", "complete"}))


def _text(meaning: str) -> Option:
    return Option(meaning)


def _flag(meaning: str) -> Option:
    return Option(meaning, "boolean")


def _count(meaning: str) -> Option:
    return Option(meaning, "count")


def _choice(meaning: str, *choices: str) -> Option:
    return Option(meaning, "choice", choices)


# --- Files ----------------------------------------------------------------------------------------------------------

_READ_FILES = {
    "path": _text("the directory, file or glob to read"),
    "pathGlobFilter": _text("only files whose name matches this glob"),
    "recursiveFileLookup": _flag("look into directories at any depth, without partition columns"),
    "basePath": _text("where partition columns (key=value directories) begin"),
    "ignoreMissingFiles": _flag("go on when a file that was listed is gone"),
    "ignoreCorruptFiles": _flag("go on when a file cannot be read"),
    "modifiedAfter": _text("only files changed after this time"),
    "modifiedBefore": _text("only files changed before this time"),
    "timeZone": _text("the zone of times that are written without one"),
}

_STREAM_FILES = _READ_FILES | {
    "maxFilesPerTrigger": _count("the most new files in one batch"),
    "maxBytesPerTrigger": _text("about the most bytes in one batch"),
    "latestFirst": _flag("the newest files first, where there is a backlog"),
    "maxFileAge": Option("files older than this, counted from the newest, are left out", "duration"),
    "fileNameOnly": _flag("a file of a known name is known, in whatever directory"),
    "cleanSource": _choice("what to do with a file that has been processed", "off", "delete", "archive"),
    "sourceArchiveDir": _text("where cleanSource=archive moves files"),
}

_TEXT_READ = {
    "lineSep": _text("what ends a line"),
    "wholetext": _flag("one row for each file"),
    "encoding": _text("the character set"),
}

_DATES = {
    "dateFormat": _text("Spark's pattern of dates"),
    "timestampFormat": _text("Spark's pattern of timestamps"),
    "timestampNTZFormat": _text("Spark's pattern of timestamps without a zone"),
    "locale": _text("the language of month and day names"),
}

_BAD_RECORDS = {
    "mode": _choice(
        "what a bad record does; a source with a deadLetter has DEADLETTER",
        "PERMISSIVE",
        "DROPMALFORMED",
        "FAILFAST",
        "DEADLETTER",
    ),
    "columnNameOfCorruptRecord": _text("the column that takes the text of a bad record"),
}

_CSV_LAYOUT = {
    "sep": _text("what separates fields (default ,)"),
    "delimiter": _text("another name of sep"),
    "header": _flag("the first line holds names"),
    "quote": _text('the quote character (default ")'),
    "escape": _text("the character that escapes a quote (default \\)"),
    "nullValue": _text("the text of a null"),
    "emptyValue": _text("the text of an empty string"),
    "encoding": _text("the character set"),
    "charset": _text("another name of encoding"),
    "lineSep": _text("what ends a line"),
    "ignoreLeadingWhiteSpace": _flag("cut blanks before a value"),
    "ignoreTrailingWhiteSpace": _flag("cut blanks after a value"),
    "charToEscapeQuoteEscaping": _text("the character that escapes the escape of a quote"),
}

_CSV_READ = {
    **_CSV_LAYOUT,
    **_DATES,
    **_BAD_RECORDS,
    "comment": _text("lines that begin with this character are left out"),
    "multiLine": _flag("a quoted field may hold line ends"),
    "nanValue": _text("the text of not-a-number"),
    "positiveInf": _text("the text of infinity"),
    "negativeInf": _text("the text of minus infinity"),
    "enforceSchema": _flag("take the schema by position, whatever the header says"),
    "maxColumns": _count("the most columns of a record"),
    "maxCharsPerColumn": _text("the most characters of a value"),
    "unescapedQuoteHandling": _text("what a quote in the middle of a value means"),
}

_JSON_READ = {
    **_DATES,
    **_BAD_RECORDS,
    "multiLine": _flag("one record may span lines, or be an array"),
    "primitivesAsString": _flag("read numbers and booleans as strings"),
    "prefersDecimal": _flag("read fractions as decimals"),
    "allowComments": _flag("Java comments are allowed"),
    "allowUnquotedFieldNames": _flag("names need no quotes"),
    "allowSingleQuotes": _flag("single quotes are allowed"),
    "allowNumericLeadingZeros": _flag("numbers may begin with 0"),
    "allowNonNumericNumbers": _flag("NaN and Infinity are numbers"),
    "allowBackslashEscapingAnyCharacter": _flag("a backslash may escape any character"),
    "allowUnquotedControlChars": _flag("strings may hold control characters"),
    "dropFieldIfAllNull": _flag("leave out columns that hold nothing"),
    "encoding": _text("the character set"),
    "lineSep": _text("what ends a record"),
}

_PARQUET_READ = {
    "mergeSchema": _flag("take columns from all files"),
    "datetimeRebaseMode": _choice("how old dates were written", "EXCEPTION", "CORRECTED", "LEGACY"),
    "int96RebaseMode": _choice("how old INT96 timestamps were written", "EXCEPTION", "CORRECTED", "LEGACY"),
}

_AVRO_READ = {
    "avroSchema": _text("the reader's Avro schema as JSON"),
    "ignoreExtension": _flag("read files of any name"),
    "mode": _BAD_RECORDS["mode"],
    "datetimeRebaseMode": _choice("how old dates were written", "EXCEPTION", "CORRECTED", "LEGACY"),
}

_FILE_OPTIONS = {
    "text": ("lines of text", _TEXT_READ),
    "csv": ("comma-separated values", _CSV_READ),
    "json": ("one JSON object a line", _JSON_READ),
    "parquet": ("Parquet", _PARQUET_READ),
    "avro": ("Avro object container files", _AVRO_READ),
}

_WRITE_FILES = {
    "path": _text("the directory to write"),
    "compression": _text("the codec: none, gzip, snappy, zstd, ..."),
}

_FILE_WRITE_OPTIONS: dict[str, dict[str, Option]] = {
    "text": {"lineSep": _text("what ends a line")},
    "csv": {
        **_CSV_LAYOUT,
        **_DATES,
        "quoteAll": _flag("quote every value"),
        "escapeQuotes": _flag("quote values that hold a quote"),
    },
    "json": {
        **_DATES,
        "ignoreNullFields": _flag("leave nulls out of the objects"),
        "lineSep": _text("what ends a record"),
        "encoding": _text("the character set"),
    },
    "parquet": {"parquet.block.size": _count("bytes of a row group")},
    "avro": {
        "avroSchema": _text("the writer's Avro schema as JSON"),
        "recordName": _text("the name of the top record"),
        "recordNamespace": _text("its namespace"),
        "positionalFieldMatching": _flag("match columns by position"),
    },
}

# --- Kafka ----------------------------------------------------------------------------------------------------------

_KAFKA_COLUMNS = (
    "key BINARY, value BINARY, topic STRING, partition INT, offset BIGINT, "
    "timestamp TIMESTAMP, timestampType INT"
)
_KAFKA_HEADERS = ", headers ARRAY<STRUCT<key: STRING, value: BINARY>>"

_KAFKA_READ = {
    "kafka.bootstrap.servers": _text("host:port of some brokers, separated by commas"),
    "subscribe": _text("topics, separated by commas"),
    "subscribePattern": _text("a regular expression of topics"),
    "assign": _text('a JSON map of topics and partitions: {"a": [0, 1]}'),
    "startingOffsets": Option(
        "where a new query begins: earliest, latest, or a JSON map of offsets", "offsets"
    ),
    "endingOffsets": Option("where a batch read ends", "offsets"),
    "startingTimestamp": _count("begin at this time (milliseconds since 1970)"),
    "endingTimestamp": _count("end at this time (milliseconds since 1970)"),
    "startingOffsetsByTimestamp": _text("a JSON map of topics, partitions and times to begin at"),
    "endingOffsetsByTimestamp": _text("a JSON map of topics, partitions and times to end at"),
    "startingOffsetsByTimestampStrategy": _choice("where no offset has that time", "error", "latest"),
    "failOnDataLoss": _flag("stop when records are gone that were not read (default true)"),
    "maxOffsetsPerTrigger": _count("the most records in one batch"),
    "minOffsetsPerTrigger": _count("wait for as many records"),
    "maxTriggerDelay": _text("how long minOffsetsPerTrigger may wait"),
    "maxRecordsPerPartition": _count("cut a partition's range into parts of this size"),
    "minPartitions": _count("read in at least as many parts"),
    "groupIdPrefix": _text("begins the name of the consumer group that progress is committed to"),
    "includeHeaders": _flag("add a column of the records' headers"),
    "kafkaConsumer.pollTimeoutMs": _count("how long one poll waits for records"),
    "fetchOffset.numRetries": _count("how often asking for offsets is tried again"),
    "fetchOffset.retryIntervalMs": _count("how long to wait before that"),
}

_KAFKA_WRITE = {
    "kafka.bootstrap.servers": _text("host:port of some brokers, separated by commas"),
    "topic": _text("the topic of every row; without it each row names its own in a column `topic`"),
    "includeHeaders": _flag("write the column `headers`"),
    "exactlyOnce": _flag("write in transactions (default true); false: idempotent, at least once"),
}

# --- The tables -----------------------------------------------------------------------------------------------------


def _file_sources() -> dict[str, Format]:
    return {
        name: Format(
            f"{meaning}, from files as they appear in a directory",
            _STREAM_FILES | own,
            one_of=(("path",),),
            columns="value STRING" if name == "text" else None,
            decodes=name == "text",
        )
        for name, (meaning, own) in _FILE_OPTIONS.items()
    }


SOURCES: Mapping[str, Format] = {
    **_file_sources(),
    "kafka": Format(
        "records of Kafka topics",
        _KAFKA_READ,
        one_of=(("kafka.bootstrap.servers",), ("subscribe", "subscribePattern", "assign")),
        pass_through=("kafka.",),
        columns=_KAFKA_COLUMNS,
        decodes=True,
    ),
    "socket": Format(
        "lines of text from a TCP server; nothing is read twice, so nothing survives a restart",
        {
            "host": _text("the server"),
            "port": _count("its port"),
            "includeTimestamp": _flag("add a column `timestamp` of the arrival"),
            "numPartitions": _count("in how many parts"),
        },
        one_of=(("host",), ("port",)),
        columns="value STRING",
        decodes=True,
    ),
    "rate": Format(
        "made-up rows at a steady rate, for trying out",
        {
            "rowsPerSecond": _count("rows a second (default 1)"),
            "rampUpTime": Option("how long to take to reach that rate", "duration"),
            "numPartitions": _count("in how many parts"),
        },
        columns="timestamp TIMESTAMP, value BIGINT",
    ),
    "rate-micro-batch": Format(
        "made-up rows, the same number in every batch",
        {
            "rowsPerBatch": _count("rows a batch"),
            "numPartitions": _count("in how many parts"),
            "startTimestamp": _count("the first batch's time (milliseconds since 1970)"),
            "advanceMillisPerBatch": _count("milliseconds from one batch's time to the next"),
        },
        one_of=(("rowsPerBatch",),),
        columns="timestamp TIMESTAMP, value BIGINT",
    ),
}

TABLES: Mapping[str, Format] = {
    name: Format(
        f"{meaning}, all files of a directory",
        _READ_FILES
        | own
        | ({"inferSchema": _flag("find out the types by reading once")} if name in ("csv", "json") else {}),
        one_of=(("path",),),
        columns="value STRING" if name == "text" else None,
    )
    for name, (meaning, own) in _FILE_OPTIONS.items()
}

SINKS: Mapping[str, Format] = {
    **{
        name: Format(
            f"{meaning}: new files in a directory, each visible when it is whole",
            _WRITE_FILES | _FILE_WRITE_OPTIONS[name],
            one_of=(("path",),),
            writes_files=True,
            modes=frozenset({"append"}),
        )
        for name, (meaning, _) in _FILE_OPTIONS.items()
    },
    "kafka": Format(
        "records of Kafka topics, exactly once by transactions",
        _KAFKA_WRITE,
        one_of=(("kafka.bootstrap.servers",),),
        pass_through=("kafka.",),
    ),
    "console": Format(
        "a table on the terminal, batch by batch",
        {
            "numRows": _count("rows shown of a batch (default 20)"),
            "truncate": _text("true, false or a width to cut to"),
        },
    ),
    "memory": Format("a table in this process, for trying out", {}),
    "noop": Format("nowhere: for measuring", {}),
}

DEAD_LETTERS: Mapping[str, Format] = {name: SINKS[name] for name in ("json", "parquet", "kafka", "console")}
"""Where bad records can go. CSV and text have no place for the bytes of a record."""

_NOT_IN_RECORDS = ("header", "lineSep", "encoding", "charset", "charToEscapeQuoteEscaping")
_CSV_RECORD = {name: option for name, option in _CSV_LAYOUT.items() if name not in _NOT_IN_RECORDS}
_RECORD_DATES = {name: option for name, option in _DATES.items() if name != "locale"}
_RECORD_DATES["timeZone"] = _READ_FILES["timeZone"]

DECODERS: Mapping[str, Format] = {
    "json": Format("one JSON object", _RECORD_DATES),
    "csv": Format(
        "one line of comma-separated values",
        _RECORD_DATES
        | _CSV_RECORD
        | {name: _CSV_READ[name] for name in ("nanValue", "positiveInf", "negativeInf")},
    ),
    "avro": Format(
        "one Avro record without a file's header",
        {
            "avroSchema": _text("the writer's Avro schema as JSON"),
            "confluent": _flag("the five bytes of a schema registry stand before the record"),
        },
    ),
    "text": Format("one text, for a schema of one STRING column", {}),
}
"""What `decode` can read."""

ENCODERS: Mapping[str, Format] = {
    "json": Format("one JSON object", {"ignoreNullFields": _FILE_WRITE_OPTIONS["json"]["ignoreNullFields"]}),
    "csv": Format(
        "one line of comma-separated values",
        _CSV_RECORD | {name: _FILE_WRITE_OPTIONS["csv"][name] for name in ("quoteAll", "escapeQuotes")},
    ),
    "avro": Format(
        "one Avro record without a file's header",
        {name: _FILE_WRITE_OPTIONS["avro"][name] for name in ("avroSchema", "recordName")},
    ),
}
"""What `encode` can write."""

ROLES: Mapping[str, Mapping[str, Format]] = {
    "source": SOURCES,
    "table": TABLES,
    "sink": SINKS,
    "dead letter": DEAD_LETTERS,
    "decoder": DECODERS,
    "encoder": ENCODERS,
}


def own_columns(source: str, options: Mapping[str, object]) -> str | None:
    """The columns that a source format brings by itself, as DDL; None where the manifest says them."""
    columns = SOURCES[source].columns
    if columns and is_true(options, "includeHeaders") and source == "kafka":
        return columns + _KAFKA_HEADERS
    if columns and is_true(options, "includeTimestamp") and source == "socket":
        return columns + ", timestamp TIMESTAMP"
    return columns


def is_true(options: Mapping[str, object], name: str) -> bool:
    """Whether the boolean option is given and true."""
    return any(key.lower() == name.lower() and str(value).lower() == "true" for key, value in options.items())


def given(options: Iterable[str], name: str) -> bool:
    """Whether an option is given, in whatever case."""
    return name.lower() in {key.lower() for key in options}
